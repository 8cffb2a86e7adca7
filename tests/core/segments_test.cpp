#include "core/segments.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "core/storage.h"

namespace fovea {
namespace {

constexpr std::size_t kMega = 1 << 20;

TEST(Segments, BlocksDoNotOverlapAndKeepWhatIsInThem) {
  Segments segments;
  struct Block {
    std::size_t taken;
    std::size_t bytes;
    unsigned char content;
  };
  std::map<unsigned char*, Block> blocks;
  std::uint32_t random = 1;
  const auto next = [&](std::uint32_t most) {
    random = random * 1664525 + 1013904223;
    return (random >> 8) % most;
  };
  for (int i = 0; i < 600; ++i) {
    if (blocks.size() < 12 || next(2) == 0) {
      const std::size_t bytes = 1 + next(i % 50 == 0 ? 20 * kMega : kMega);
      const auto [data, taken] = segments.take(bytes);
      ASSERT_NE(data, nullptr);
      ASSERT_GE(taken, bytes + reinterpret_cast<std::uintptr_t>(data) % kPage);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % kAlignment, 0U);
      auto* const first = static_cast<unsigned char*>(data);
      const auto after = blocks.lower_bound(first);
      ASSERT_TRUE(after == blocks.end() || first + bytes <= after->first);
      ASSERT_TRUE(after == blocks.begin() ||
                  std::prev(after)->first + std::prev(after)->second.bytes <= first);
      const auto content = static_cast<unsigned char>(i);
      std::memset(data, content, bytes);
      blocks[first] = {taken, bytes, content};
    } else {
      const auto block = std::next(blocks.begin(), next(static_cast<std::uint32_t>(blocks.size())));
      const auto [taken, bytes, content] = block->second;
      for (std::size_t at = 0; at < bytes; at += 997) ASSERT_EQ(block->first[at], content);
      ASSERT_EQ(block->first[bytes - 1], content);
      EXPECT_EQ(segments.give(block->first), taken);
      blocks.erase(block);
    }
  }
  for (const auto& [data, block] : blocks) segments.give(data);
  EXPECT_GT(segments.held(), 0U);
  segments.release();
  EXPECT_EQ(segments.held(), 0U) << "a piece was not joined to its segment again";
}

TEST(Segments, WhatIsFreedInOneSizeServesAnother) {
  Segments segments;
  std::vector<void*> small;
  for (int i = 0; i < 16; ++i) small.push_back(segments.take(kMega).data);
  const std::size_t held = segments.held();
  for (void* block : small) segments.give(block);
  void* const large = segments.take(5 * kMega).data;
  void* const other = segments.take(7 * kMega).data;
  EXPECT_EQ(segments.held(), held);
  segments.give(large);
  segments.give(other);
}

TEST(Segments, ABlockTakesLittleMoreThanItsSize) {
  constexpr std::size_t kSmall = 64 << 10;
  Segments segments;
  void* const hole = segments.take(2 * kSmall - kPage).data;
  void* const behind = segments.take(kSmall).data;
  segments.give(hole);
  const auto [data, taken] = segments.take(kSmall);
  EXPECT_LE(taken, kSmall + 2 * kPage);
  segments.give(data);
  segments.give(behind);
}

TEST(Segments, BlocksBeginAtDifferentLinesOfAPage) {
  Segments segments;
  std::set<std::uintptr_t> lines;
  std::vector<void*> blocks;
  for (int i = 0; i < 8; ++i) {
    blocks.push_back(segments.take(kMega).data);
    lines.insert(reinterpret_cast<std::uintptr_t>(blocks.back()) % kPage);
  }
  EXPECT_EQ(lines.size(), 8U);
  for (void* block : blocks) segments.give(block);
}

TEST(Segments, WhatIsInUseIsNotReleased) {
  Segments segments;
  void* const kept = segments.take(3 * kMega).data;
  void* const freed = segments.take(40 * kMega).data;
  std::memset(kept, 7, 3 * kMega);
  segments.give(freed);
  segments.release();
  EXPECT_EQ(segments.held(), 8 * kMega);
  EXPECT_EQ(static_cast<unsigned char*>(kept)[3 * kMega - 1], 7);
  segments.give(kept);
}

TEST(Segments, WhatTheSystemHasNotIsNull) {
  Segments segments;
  EXPECT_EQ(segments.take(SIZE_MAX).data, nullptr);
  EXPECT_EQ(segments.take(SIZE_MAX / 4).data, nullptr);
  EXPECT_EQ(segments.held(), 0U);
}

TEST(Derived, IsKeptFromTheSecondTimeOnAndForOneVersion) {
  Derived derived;
  const Derived::Key key = {1};
  const Derived::Key other = {2};
  const auto data = std::make_shared<const int>(3);
  derived.keep(key, 1, data);
  EXPECT_EQ(derived.find(key, 1), nullptr) << "what is used once would only fill memory";
  derived.keep(other, 1, data);
  EXPECT_EQ(derived.find(other, 1), nullptr);
  derived.keep(key, 1, data);
  EXPECT_EQ(derived.find(key, 1), data);
  EXPECT_EQ(derived.find(other, 1), nullptr);
  EXPECT_EQ(data.use_count(), 2);
  derived.keep(other, 2, data);
  EXPECT_EQ(data.use_count(), 1) << "nothing is kept for an older version";
  EXPECT_EQ(derived.find(key, 1), nullptr);
}

}  // namespace
}  // namespace fovea

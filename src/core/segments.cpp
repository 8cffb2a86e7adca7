// See segments.h.
#include "core/segments.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "core/storage.h"

namespace fovea {
namespace {

constexpr std::size_t kHugePage = 2 << 20;
constexpr std::size_t kLeastPiece = kPage;
// A segment is a quarter of what is held so far, within these bounds, or what is asked for.
constexpr std::size_t kLeastSegment = 8 << 20;
constexpr std::size_t kLargestSegment = 64 << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// On huge pages, or a walk over a large tensor misses the TLB every 4 KiB.
void* segment_of(std::size_t size) {
  void* segment = nullptr;
  if (posix_memalign(&segment, kHugePage, size) != 0) return nullptr;
  madvise(segment, size, MADV_HUGEPAGE);  // only a hint: it may be refused
  return segment;
}

struct FreeSegment {
  void operator()(std::byte* data) const { std::free(data); }
};

}  // namespace

Segments::~Segments() {
  release();
}

std::size_t next_line_of_page() {
  static std::atomic<std::size_t> count = 0;
  return count.fetch_add(11, std::memory_order_relaxed) * kAlignment % kPage;
}

Segments::Block Segments::take(std::size_t bytes) {
  const std::size_t offset = next_line_of_page();
  const std::size_t size = rounded_up(bytes + offset, kPage);  // pieces begin with a page
  if (size < bytes) return {};
  auto found = free_.lower_bound({size, nullptr});
  if (found == free_.end()) {
    if (!add_segment(size)) return {};
    found = free_.lower_bound({size, nullptr});
  }
  const Address data = found->second;
  Piece& piece = pieces_.find(data)->second;
  if (piece.size - size >= kLeastPiece) {
    add_free(data + size, piece.size - size, /*first=*/false);
    piece.size = size;
  }
  piece.entry = free_.extract(found);
  return {data + offset, piece.size};
}

std::size_t Segments::give(void* data) noexcept {
  const auto offset = reinterpret_cast<std::uintptr_t>(data) % kPage;
  auto piece = pieces_.find(static_cast<Address>(data) - offset);
  const std::size_t size = piece->second.size;
  Free::node_type entry = std::move(piece->second.entry);
  const auto next = std::next(piece);
  if (next != pieces_.end() && !next->second.first && next->second.free()) {
    free_.erase({next->second.size, next->first});
    piece->second.size += next->second.size;
    pieces_.erase(next);
  }
  if (!piece->second.first && std::prev(piece)->second.free()) {
    const auto previous = std::prev(piece);
    free_.erase({previous->second.size, previous->first});
    previous->second.size += piece->second.size;
    pieces_.erase(piece);
    piece = previous;
  }
  entry.value() = {piece->second.size, piece->first};
  free_.insert(std::move(entry));
  return size;
}

void Segments::release() noexcept {
  for (auto piece = pieces_.begin(); piece != pieces_.end();) {
    const auto next = std::next(piece);
    const bool last = next == pieces_.end() || next->second.first;
    if (piece->second.first && last && piece->second.free()) {
      free_.erase({piece->second.size, piece->first});
      held_ -= piece->second.size;
      std::free(piece->first);
      pieces_.erase(piece);
    } else if (piece->second.free()) {
      madvise(piece->first, piece->second.size, MADV_DONTNEED);
    }
    piece = next;
  }
}

bool Segments::add_segment(std::size_t bytes) {
  const std::size_t least = rounded_up(bytes, kHugePage);
  if (least < bytes) return false;
  std::size_t size = std::max(
      least, std::clamp(held_ / 4 / kHugePage * kHugePage, kLeastSegment, kLargestSegment));
  void* segment = segment_of(size);
  if (segment == nullptr && size > least) {
    size = least;
    segment = segment_of(size);
  }
  if (segment == nullptr) return false;
  std::unique_ptr<std::byte, FreeSegment> owner(static_cast<Address>(segment));
  add_free(owner.get(), size, /*first=*/true);
  static_cast<void>(owner.release());
  held_ += size;
  return true;
}

// All or, where there is no memory for the lists, nothing.
void Segments::add_free(Address data, std::size_t size, bool first) {
  Free entry = {{size, data}};
  Pieces piece;
  piece.emplace(data, Piece{.size = size, .first = first, .entry = {}});
  free_.merge(entry);
  pieces_.merge(piece);
}

}  // namespace fovea

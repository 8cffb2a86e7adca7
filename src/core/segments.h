// Large blocks of memory, cut from segments that the system gives.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace fovea {

// Blocks from this size on begin each at another line of a page. If all began at the same, the
// cells of one channel in all operands of a call would share few sets of the first-level cache
// wherever a cell has a power of two of channels, and loads would wait for stores whose addresses
// agree in their low 12 bits.
inline constexpr std::size_t kSpread = std::size_t{64} << 10;
inline constexpr std::size_t kPage = std::size_t{4} << 10;
// The offset of the next such block in its page.
std::size_t next_line_of_page();

// Free pieces that touch become one again, so that what is freed in one size serves another: a
// training step, whose tensors shrink from layer to layer, needs little more than the most that is
// in use at once. Of the free pieces that are large enough the smallest is taken, and of these the
// one with the lowest address. Not for several threads at once.
class Segments {
 public:
  Segments() = default;
  ~Segments();
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;

  struct Block {
    void* data = nullptr;  // null: the system has none left
    std::size_t size = 0;  // what it takes, a little more than was asked for
  };
  Block take(std::size_t bytes);
  // Returns its size.
  std::size_t give(void* data) noexcept;
  // Gives segments that are free as a whole back to the system, and of others the free pages, whose
  // addresses are kept.
  void release() noexcept;
  // Bytes that the system gave.
  std::size_t held() const { return held_; }

 private:
  using Address = std::byte*;
  using Free = std::set<std::pair<std::size_t, Address>>;
  // Segments are tiled by pieces.
  struct Piece {
    std::size_t size;
    bool first;             // of its segment
    Free::node_type entry;  // of the piece in free_ while it is in use, so that giving it back
                            // needs no memory
    bool free() const { return entry.empty(); }
  };
  using Pieces = std::map<Address, Piece>;

  bool add_segment(std::size_t bytes);
  void add_free(Address data, std::size_t size, bool first);

  Pieces pieces_;
  Free free_;
  std::size_t held_ = 0;
};

}  // namespace fovea

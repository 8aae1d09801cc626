/* The format of a checkpoint file; see include/skean/private/checkpoint.hpp. Without PETSc and MPI, for the fuzzer */
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>
#include <zlib.h>

namespace skean {
namespace checkpoint {

enum Kind { Int = 1, Real = 2, String = 3, Reals = 4, Ints = 5, Rows = 6, End = 7 };
const char        Magic[9]    = "SKEANCP1";
const std::size_t HeaderBytes = 36; /* of a section, with its CRC */

struct Section {
  std::string  name;
  int          kind = 0;
  std::int64_t rows = 0, width = 0, offset = 0; /* offset of the data in the file */
};

inline void Put(unsigned char *p, std::uint64_t v, int bytes)
{
  for (int b = 0; b < bytes; ++b) p[b] = static_cast<unsigned char>(v >> (8 * b));
}
inline std::uint64_t Get(const unsigned char *p, int bytes)
{
  std::uint64_t v = 0;
  for (int b = 0; b < bytes; ++b) v |= static_cast<std::uint64_t>(p[b]) << (8 * b);
  return v;
}
inline std::uint32_t Crc(std::uint32_t crc, const void *p, std::size_t n)
{
  const auto *q = static_cast<const unsigned char *>(p);
  while (n) {
    const std::size_t m = n < (1u << 30) ? n : (1u << 30);
    crc                 = static_cast<std::uint32_t>(crc32(crc, q, static_cast<uInt>(m)));
    q += m;
    n -= m;
  }
  return crc;
}
inline std::vector<unsigned char> Header(const std::string &name, int kind, std::int64_t rows, std::int64_t width)
{
  std::vector<unsigned char> h(HeaderBytes);
  std::memcpy(h.data(), "SECT", 4);
  Put(&h[4], static_cast<std::uint64_t>(kind), 4);
  Put(&h[8], name.size(), 8);
  Put(&h[16], static_cast<std::uint64_t>(rows), 8);
  Put(&h[24], static_cast<std::uint64_t>(width), 8);
  Put(&h[32], Crc(Crc(0, h.data(), 32), name.data(), name.size()), 4);
  h.insert(h.end(), name.begin(), name.end());
  return h;
}

/* Walks through a file of `size` bytes and checks everything; read(offset, buffer, n) gives n bytes or returns false.
   Returns what is wrong, or an empty string */
template <class Read>
std::string Scan(std::int64_t size, Read read, std::vector<Section> &sections)
{
  unsigned char h[HeaderBytes];
  std::int64_t  at    = 8;
  const auto    where = [](std::int64_t b, const std::string &what) { return "byte " + std::to_string(b) + ": " + what; };
  if (size < 8 || !read(std::int64_t(0), h, std::size_t(8)) || std::memcmp(h, Magic, 7)) return "not a checkpoint of Skean";
  if (h[7] != '1') return "a checkpoint of an unknown version of the format";
  std::vector<unsigned char> block;
  for (;;) {
    if (size - at < static_cast<std::int64_t>(HeaderBytes)) return where(size, "the checkpoint is truncated");
    if (!read(at, h, HeaderBytes)) return where(at, "cannot be read");
    if (std::memcmp(h, "SECT", 4)) return where(at, "damaged: no section begins here");
    Section             s;
    const std::uint64_t kind = Get(h + 4, 4), len = Get(h + 8, 8), rows = Get(h + 16, 8), width = Get(h + 24, 8);
    if (len > 4096) return where(at, "damaged: the name of a section has " + std::to_string(len) + " bytes");
    if (size - at - static_cast<std::int64_t>(HeaderBytes) < static_cast<std::int64_t>(len)) return where(size, "the checkpoint is truncated");
    s.name.resize(static_cast<std::size_t>(len));
    if (len && !read(at + static_cast<std::int64_t>(HeaderBytes), &s.name[0], static_cast<std::size_t>(len))) return where(at, "cannot be read");
    if (Crc(Crc(0, h, 32), s.name.data(), s.name.size()) != Get(h + 32, 4)) return where(at, "damaged: the checksum of a section's header is wrong");
    s.kind   = static_cast<int>(kind);
    s.rows   = static_cast<std::int64_t>(rows);
    s.width  = static_cast<std::int64_t>(width);
    s.offset = at + static_cast<std::int64_t>(HeaderBytes + len);
    if (kind == End) {
      if (rows != sections.size()) return where(at, "damaged: " + std::to_string(sections.size()) + " sections, " + std::to_string(rows) + " expected");
      if (s.offset != size) return where(s.offset, "damaged: bytes after the end");
      return "";
    }
    std::int64_t bytes;
    if (kind < Int || kind > End || s.rows < 0 || s.width < 0 || __builtin_mul_overflow(s.rows, s.width, &bytes))
      return where(at, "damaged: impossible section");
    if (size - s.offset < 4 || bytes > size - s.offset - 4) return where(size, "the checkpoint is truncated inside section '" + s.name + "'");
    std::uint32_t crc = 0;
    for (std::int64_t k = 0; k < bytes;) {
      const std::size_t m = static_cast<std::size_t>(bytes - k < (1 << 22) ? bytes - k : (1 << 22));
      block.resize(m);
      if (!read(s.offset + k, block.data(), m)) return where(s.offset + k, "cannot be read");
      crc = Crc(crc, block.data(), m);
      k += static_cast<std::int64_t>(m);
    }
    if (!read(s.offset + bytes, h, std::size_t(4))) return where(s.offset, "cannot be read");
    if (crc != Get(h, 4)) return where(s.offset, "damaged: the checksum of section '" + s.name + "' is wrong");
    at = s.offset + bytes + 4;
    sections.push_back(s);
  }
}

} // namespace checkpoint
} // namespace skean

#include "harness/skeantest.hpp"
#include <skean/private/random.hpp>

using skean::Purpose;
using skean::RandomStream;

/* Known answer of Philox4x32-10 from Random123's own test vectors (counter and key of all ones bits) */
TEST(Random, PhiloxKnownAnswer)
{
  r123::Philox4x32::ctr_type c = {{0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}};
  r123::Philox4x32::key_type k = {{0xffffffffu, 0xffffffffu}};
  const auto                 r = r123::Philox4x32()(c, k);
  EXPECT_EQ(r[0], 0x408f276du);
  EXPECT_EQ(r[1], 0x41c83b0eu);
  EXPECT_EQ(r[2], 0xa20bc7c6u);
  EXPECT_EQ(r[3], 0x6d5451fdu);
}

TEST(Random, StreamsDiffer)
{
  RandomStream a(1, Purpose::Signs), b(1, Purpose::HashRows), c(2, Purpose::Signs), d(1, Purpose::Signs, 1), e(1, Purpose::Signs);
  EXPECT_NE(a.Bits(7)[0], b.Bits(7)[0]);
  EXPECT_NE(a.Bits(7)[0], c.Bits(7)[0]);
  EXPECT_NE(a.Bits(7)[0], d.Bits(7)[0]);
  EXPECT_EQ(a.Bits(7)[0], e.Bits(7)[0]);
  EXPECT_NE(a.Bits(7, 0)[0], a.Bits(7, 1)[0]);
  EXPECT_NE(a.Bits(7)[0], a.Bits(std::uint64_t(7) + (std::uint64_t(1) << 32))[0]) << "indices past 2^32 must not repeat";
}

/* Mean, variance and fourth moment within 5 standard deviations of theirs */
TEST(Random, NormalMoments)
{
  const int    n = 200000;
  RandomStream s(3, Purpose::Gaussian);
  double       m1 = 0, m2 = 0, m4 = 0;
  for (int i = 0; i < n; ++i) {
    const double z = s.Normal(i / 16, i % 16);
    m1 += z;
    m2 += z * z;
    m4 += z * z * z * z;
  }
  EXPECT_LT(std::abs(m1 / n), 5.0 / std::sqrt(n));
  EXPECT_LT(std::abs(m2 / n - 1), 5.0 * std::sqrt(2.0 / n));
  EXPECT_LT(std::abs(m4 / n - 3), 5.0 * std::sqrt(96.0 / n));
}

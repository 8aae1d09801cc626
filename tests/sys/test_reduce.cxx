#include "harness/skeantest.hpp"
#include <skean/private/reduce.hpp>

TEST(Reduce, ValuesFlagAndVote)
{
  const int         rank = skeantest::Rank(), size = skeantest::Size();
  skean::FlaggedSum s(3);
  bool              failed = false, agreed = false;
  for (int i = 0; i < 3; ++i) s[i] = (rank + 1) * (i + 1);
  ASSERT_PETSC(s.Reduce(PETSC_COMM_WORLD, rank == size - 1, &failed, rank == 0, &agreed));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(s[i], (i + 1) * size * (size + 1) / 2);
  EXPECT_TRUE(failed);
  EXPECT_TRUE(agreed);
  s.Zero();
  ASSERT_PETSC(s.Reduce(PETSC_COMM_WORLD, false, &failed, rank != 0, &agreed));
  EXPECT_FALSE(failed);
  EXPECT_FALSE(agreed) << "only process 0 votes";
}

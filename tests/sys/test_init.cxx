#include "harness/skeantest.hpp"

TEST(Init, VersionIsKnown)
{
  char     text[128];
  PetscInt major, minor, sub;
  ASSERT_PETSC(SkeanGetVersion(text, sizeof(text)));
  ASSERT_PETSC(SkeanGetVersionNumber(&major, &minor, &sub));
  EXPECT_NE(std::string(text).find("Skean " + std::to_string(major) + "." + std::to_string(minor)), std::string::npos);
}

TEST(Init, TwiceIsOnce)
{
  PetscBool up;
  ASSERT_PETSC(SkeanInitializePackage());
  ASSERT_PETSC(SkeanInitialized(&up));
  EXPECT_TRUE(up);
}

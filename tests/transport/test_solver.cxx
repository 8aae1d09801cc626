#include "problems.hpp"
TEST(Transport, Placeholder)
{
}

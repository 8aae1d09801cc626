/* Everything of Skean */
#pragma once

#include <skeansys.h>
#include <skeanio.h>

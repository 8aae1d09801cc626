/* Everything of Skean */
#pragma once

#include <skeansys.h>
#include <skeansketch.h>

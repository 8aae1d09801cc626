/* Everything of Skean */
#pragma once

#include <skeansys.h>
#include <skeansketch.h>
#include <skeanksp.h>
#include <skeanio.h>
#include <skeantransport.h>

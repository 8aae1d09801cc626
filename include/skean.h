/* Everything of Skean */
#pragma once

#include <skeansys.h>
#include <skeankron.h>
#include <skeangpkernel.h>
#include <skeangp.h>
#include <skeangppde.h>
#include <skeanio.h>

/* Everything of Skean */
#pragma once

#include <skeansys.h>
#include <skeansketch.h>
#include <skeanksp.h>
#include <skeanio.h>
#include <skeankron.h>
#include <skeangpkernel.h>
#include <skeangp.h>
#include <skeangppde.h>
#include <skeantransport.h>

/* What the types by virtual blocks have in common; the data of such a type is a skean::BlockSketch, made by its set-up */
#pragma once

#include "kernels/block.hpp"
#include <skean/private/sketchimpl.h>

/* All operations but the set-up, which is the type's own */
SKEAN_INTERN PetscErrorCode SkeanSketchSetBlockOps_Private(SkeanSketch sketch, PetscErrorCode (*setup)(SkeanSketch));
SKEAN_INTERN PetscErrorCode SkeanSketchReset_Block(SkeanSketch sketch);
/* Only the size of the blocks, for a type to which SkeanSketchSetPermute() means nothing */
SKEAN_INTERN PetscErrorCode SkeanSketchViewBlockSize_Private(SkeanSketch sketch, PetscViewer viewer);
/* Error unless b is a power of two, as Hadamard transforms need */
SKEAN_INTERN PetscErrorCode SkeanSketchCheckBlockSize_Private(SkeanSketch sketch, std::uint64_t b);

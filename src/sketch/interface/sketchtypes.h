/* The types of SkeanSketch, one line each: name and the suffix of SkeanSketchCreate_<Suffix>(). Included to declare and to register. */
SKEAN_SKETCH_TYPE(SKEANSKETCHGAUSSIAN, Gaussian)
SKEAN_SKETCH_TYPE(SKEANSKETCHSRHT, SRHT)
SKEAN_SKETCH_TYPE(SKEANSKETCHSPARSESIGN, SparseSign)

#!/usr/bin/env python3
"""Writes images of Fashion-MNIST (Debian: dataset-fashion-mnist) as a PETSc binary dense matrix, one image per row.
usage: fashion.py out.bin index index ...      (indices into the training set)"""
import gzip, struct, sys
import numpy as np
with gzip.open("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz") as f:
    magic, count, h, w = struct.unpack(">iiii", f.read(16))
    data = np.frombuffer(f.read(), dtype=np.uint8).reshape(count, h * w)
rows = data[[int(a) for a in sys.argv[2:]]].astype(">f8")
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack(">iiii", 1211216, rows.shape[0], rows.shape[1], -1))  # MAT_FILE_CLASSID, MATRIX_BINARY_FORMAT_DENSE
    f.write(rows.tobytes())

/* Small grids with missing points, for the preconditioners of the missing block */
#pragma once

#include "harness/skeantest.hpp"
#include <skean/private/gpimpl.h>
#include <cmath>
#include <vector>

namespace gapgrid {

using skean::KronEigen;
using skean::KronEigenProblem;
using skean::TensorBox;
using skean::TensorGrid;

struct Grid {
  std::vector<PetscInt64>    n;
  std::vector<KronEigen>     eig;
  std::vector<unsigned char> mask; /* natural order, all of it */
  PetscInt64                 N = 1;
  TensorGrid                 grid;

  /* symmetric positive factors with a decaying spectrum (exponent 1: Markov, 2: as smooth as can be), and a mask with a box of missing points and some scattered ones */
  PetscErrorCode Make(const std::vector<PetscInt64> &sizes, double exponent = 1)
  {
    std::vector<std::vector<double>> K;
    std::vector<const double *>      p;

    PetscFunctionBegin;
    n = sizes;
    for (size_t j = 0; j < n.size(); ++j) {
      K.emplace_back(n[j] * n[j]);
      for (PetscInt64 c = 0; c < n[j]; ++c)
        for (PetscInt64 r = 0; r < n[j]; ++r)
          K[j][r + c * n[j]] = std::exp(-std::pow(std::abs(static_cast<double>(r - c)) / (2.0 + static_cast<double>(j)), exponent));
      N *= n[j];
    }
    for (auto &k : K) p.push_back(k.data());
    std::vector<KronEigenProblem> problems(n.size());
    eig.resize(n.size());
    for (size_t j = 0; j < n.size(); ++j) {
      problems[j].n   = n[j];
      problems[j].A   = p[j];
      problems[j].eig = &eig[j];
    }
    PetscCall(KronEigenSolve(PETSC_COMM_WORLD, &problems));
    for (auto &e : eig) e.FormVectors();
    PetscCall(grid.Create(PETSC_COMM_WORLD, static_cast<int>(n.size()), n.data()));
    mask.assign(N, 1);
    for (PetscInt64 g = 0; g < N; ++g) {
      PetscInt64 q   = g;
      bool       box = true;
      for (size_t j = n.size(); j-- > 0; q /= n[j]) box = box && 3 * (q % n[j]) < 2 * n[j];
      if (box || g % 11 == 3) mask[g] = 0;
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* A column of U and its eigenvalue, by the numbers of the factors' eigenvectors */
  double Mode(PetscInt64 i, std::vector<double> *u) const
  {
    double lam = 1;
    u->assign(N, 1.0);
    PetscInt64 stride = N, which = i;
    for (size_t j = 0; j < n.size(); ++j) {
      stride /= n[j];
      const PetscInt64 a = which / stride;
      which %= stride;
      lam *= eig[j].lambda[a];
      for (PetscInt64 g = 0; g < N; ++g) (*u)[g] *= eig[j].V[a * n[j] + (g / stride) % n[j]];
    }
    return lam;
  }
  std::vector<double> Home(const std::vector<double> &v) const
  {
    const TensorBox     b = grid.Home();
    std::vector<double> h;
    for (PetscInt64 g = 0; g < N; ++g) {
      PetscInt64 q    = g;
      bool       mine = b.Volume() > 0;
      for (size_t j = n.size(); j-- > 0; q /= n[j]) mine = mine && q % n[j] >= b.lo[j] && q % n[j] < b.hi[j];
      if (mine) h.push_back(v[g]);
    }
    return h;
  }
};

} // namespace gapgrid

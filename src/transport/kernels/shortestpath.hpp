/* Shortest paths in a graph with non-negative lengths, a free function on raw arrays */
#pragma once

#include <petscsys.h>

namespace skean {
namespace transport {

/* Dijkstra's algorithm with a heap: dist[k], k < n, from the source; infinite where there is no path. Node i's arcs are ja[ia[i]..ia[i+1]), len */
void ShortestPaths(PetscInt n, const PetscInt *ia, const PetscInt *ja, const double *len, PetscInt source, double *dist);

} // namespace transport
} // namespace skean

#include "shortestpath.hpp"
#include <functional>
#include <limits>
#include <queue>
#include <utility>
#include <vector>

namespace skean {
namespace transport {

void ShortestPaths(PetscInt n, const PetscInt *ia, const PetscInt *ja, const double *len, PetscInt source, double *dist)
{
  typedef std::pair<double, PetscInt>                              Item;
  std::priority_queue<Item, std::vector<Item>, std::greater<Item>> queue;

  for (PetscInt k = 0; k < n; ++k) dist[k] = std::numeric_limits<double>::infinity();
  dist[source] = 0;
  queue.push({0.0, source});
  while (!queue.empty()) {
    const Item top = queue.top();
    queue.pop();
    if (top.first > dist[top.second]) continue; /* an entry that was overtaken */
    for (PetscInt k = ia[top.second]; k < ia[top.second + 1]; ++k) {
      const double d = top.first + len[k];
      if (d < dist[ja[k]]) {
        dist[ja[k]] = d;
        queue.push({d, ja[k]});
      }
    }
  }
}

} // namespace transport
} // namespace skean

/*
   Pictures for the drivers: panels with heat maps, lines and points, drawn by Cairo to PNG, SVG or PDF.

     PlotFigure fig(2);                                  // panels in two columns
     fig.Add(PlotPanel::Heat("temperature", nx, ny, values).Extent(0, 360, -90, 90).Bar("K"));
     fig.Add(PlotPanel::Lines("convergence").LogY().Add("residual", x, y));
     PetscCall(PlotWrite(comm, fig, "out.png"));         // collective; the first process draws what it has
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <petscvec.h>
#include <string>
#include <vector>

namespace skean {

struct PlotSeries {
  std::string         label;
  std::vector<double> x, y;
  bool                points = false; /* markers in place of a line */
};

struct PlotPanel {
  enum Kind { HeatMap, LinePlot } kind = LinePlot;
  std::string title, xlabel, ylabel;
  /* heat map: value (i, j) of ny rows and nx columns at values[i*nx + j]; NaN is grey */
  int                 nx = 0, ny = 0;
  std::vector<double> values;
  double              x0 = 0, x1 = 0, y0 = 0, y1 = 0; /* of the outer edges; equal: pixel numbers, of lines what they need */
  bool                image     = false;              /* row 0 at the top and square pixels, as photographs are */
  bool                equal     = false;              /* units of x and y equally long, as on maps; of lines too */
  bool                diverging = false;              /* blue - white - red, symmetric about 0 */
  bool                range     = false;
  double              lo = 0, hi = 0; /* of the colours, if range */
  std::string         bar;
  bool                nobar = false;
  /* lines */
  std::vector<PlotSeries> series;
  bool                    logx = false, logy = false;

  static PlotPanel Heat(const std::string &title, int nx, int ny, std::vector<double> values)
  {
    PlotPanel p;
    p.kind   = HeatMap;
    p.title  = title;
    p.nx     = nx;
    p.ny     = ny;
    p.values = std::move(values);
    return p;
  }
  static PlotPanel Lines(const std::string &title)
  {
    PlotPanel p;
    p.title = title;
    return p;
  }
  PlotPanel &Extent(double xa, double xb, double ya, double yb)
  {
    x0 = xa;
    x1 = xb;
    y0 = ya;
    y1 = yb;
    return *this;
  }
  PlotPanel &Labels(const std::string &x, const std::string &y)
  {
    xlabel = x;
    ylabel = y;
    return *this;
  }
  PlotPanel &Bar(const std::string &label)
  {
    bar = label;
    return *this;
  }
  PlotPanel &NoBar()
  {
    nobar = true;
    return *this;
  }
  PlotPanel &Image()
  {
    image = true;
    return *this;
  }
  PlotPanel &Equal()
  {
    equal = true;
    return *this;
  }
  PlotPanel &Diverging()
  {
    diverging = true;
    return *this;
  }
  PlotPanel &Range(double a, double b)
  {
    range = true;
    lo    = a;
    hi    = b;
    return *this;
  }
  PlotPanel &LogX()
  {
    logx = true;
    return *this;
  }
  PlotPanel &LogY()
  {
    logy = true;
    return *this;
  }
  PlotPanel &Add(const std::string &label, std::vector<double> x, std::vector<double> y, bool points = false)
  {
    series.push_back({label, std::move(x), std::move(y), points});
    return *this;
  }
};

struct PlotFigure {
  int                    columns = 1;
  double                 width = 480, height = 340; /* of a panel, in points; PNG has twice as many pixels */
  std::string            title;
  std::vector<PlotPanel> panels;
  explicit PlotFigure(int c = 1) : columns(c) {}
  void Add(const PlotPanel &p) { panels.push_back(p); }
};

/* Collective. Only the first process's figure is drawn; .png, .svg or .pdf by the ending. PETSC_ERR_SUP if built without Cairo.
   The file appears when it is complete. */
PetscErrorCode PlotWrite(MPI_Comm comm, const PlotFigure &figure, const std::string &file);
/* Collective. All values of v on the first process, nothing on the others */
PetscErrorCode PlotGather(Vec v, std::vector<double> *values);

/* Ticks at 1, 2 or 5 times a power of ten, at most `most` of them, inside [lo, hi] */
std::vector<double> PlotTicks(double lo, double hi, int most);
/* sRGB of t in [0,1]; lightness rises evenly with t (CIE L*), or falls evenly from the middle if diverging */
void PlotColour(double t, bool diverging, double rgb[3]);

} // namespace skean

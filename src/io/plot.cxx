/* Pictures: see plot.hpp. Colour maps are paths in CIE LCh with even lightness, so that equal steps of the data look equal */
#include <skean/private/plot.hpp>
#include "ioimpl.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#if defined(SKEAN_HAVE_CAIRO)
  #include <cairo.h>
  #include <cairo-pdf.h>
  #include <cairo-svg.h>
#endif

namespace skean {

/* CIE 15:2004, L*C*h (D65) to sRGB (IEC 61966-2-1); false if outside the gamut */
static bool LchToRgb(double L, double C, double h, double rgb[3])
{
  const double a = C * std::cos(h), b = C * std::sin(h), fy = (L + 16) / 116, fx = fy + a / 500, fz = fy - b / 200;
  const auto   f = [](double t) { return t > 6.0 / 29 ? t * t * t : 3 * (6.0 / 29) * (6.0 / 29) * (t - 4.0 / 29); };
  const double X = 0.95047 * f(fx), Y = f(fy), Z = 1.08883 * f(fz);
  const double lin[3] = {3.2406 * X - 1.5372 * Y - 0.4986 * Z, -0.9689 * X + 1.8758 * Y + 0.0415 * Z, 0.0557 * X - 0.2040 * Y + 1.0570 * Z};
  bool         inside = true;
  for (int k = 0; k < 3; ++k) {
    inside         = inside && lin[k] > -1e-3 && lin[k] < 1 + 1e-3;
    const double v = std::min(1.0, std::max(0.0, lin[k]));
    rgb[k]         = v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
  }
  return inside;
}

void PlotColour(double t, bool diverging, double rgb[3])
{
  const double degree = 3.14159265358979323846 / 180;
  double       L, C, h;
  t = std::min(1.0, std::max(0.0, t));
  if (diverging) {
    const double s = 2 * t - 1;
    L              = 96 - 62 * std::fabs(s);
    C              = (s < 0 ? 52 : 62) * std::fabs(s);
    h              = (s < 0 ? 285 : 33) * degree;
  } else {
    /* from dark violet through blue-green to light yellow */
    L = 16 + 76 * t;
    h = (305 - 205 * t) * degree;
    /* just inside the colours that a screen can show, which are fewest between blue and green */
    C = t < 0.35 ? 25 + 28 * (1 - t / 0.35) * (1 - t / 0.35) : 25 + 50 * ((t - 0.35) / 0.65) * ((t - 0.35) / 0.65);
  }
  /* as colourful as the screen can be at this lightness and hue */
  while (C > 0 && !LchToRgb(L, C, h, rgb)) C -= 1;
  if (C <= 0) LchToRgb(L, 0, h, rgb);
}

std::vector<double> PlotTicks(double lo, double hi, int most)
{
  std::vector<double> t;
  if (!(hi > lo) || most < 2 || !std::isfinite(hi - lo)) return t;
  const double raw = (hi - lo) / most, mag = std::pow(10.0, std::floor(std::log10(raw)));
  double       step = 10 * mag;
  for (const double m : {1.0, 2.0, 5.0})
    if (m * mag >= raw * (1 - 1e-9)) {
      step = m * mag;
      break;
    }
  const double slack = 1e-9 * (hi - lo);
  const auto   fill  = [&]() {
    t.clear();
    for (double k = std::ceil((lo - slack) / step); k * step <= hi + slack && t.size() < 100; k += 1) t.push_back(k == 0 ? 0.0 : k * step);
  };
  fill();
  /* one tick says nothing about the scale: the next finer step */
  if (t.size() < 2) {
    const double lead = step / std::pow(10.0, std::floor(std::log10(step) + 1e-9));
    step /= lead > 1.5 && lead < 3 ? 2.0 : lead > 3 ? 2.5 : 2.0;
    fill();
  }
  return t;
}

PetscErrorCode PlotGather(Vec v, std::vector<double> *values)
{
  VecScatter         sc;
  Vec                all;
  PetscInt           n;
  const PetscScalar *a;

  PetscFunctionBegin;
  PetscCall(VecScatterCreateToZero(v, &sc, &all));
  PetscCall(VecScatterBegin(sc, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(sc, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterDestroy(&sc));
  PetscCall(VecGetLocalSize(all, &n));
  PetscCall(VecGetArrayRead(all, &a));
  PetscCallCXX(values->assign(a, a + n));
  PetscCall(VecRestoreArrayRead(all, &a));
  PetscCall(VecDestroy(&all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#if defined(SKEAN_HAVE_CAIRO)

namespace {

const double TextSize = 11, TitleSize = 13;

/* 10 to the k, with raised digits */
std::string Power(int k)
{
  static const char *const digit[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074", "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
  std::string              s = "10", n = std::to_string(std::abs(k));
  if (k < 0) s += "\u207b";
  for (const char c : n) s += digit[c - '0'];
  return s;
}
std::string Number(double v, int decimals)
{
  char s[64];
  std::snprintf(s, sizeof(s), "%.*f", decimals, v == 0 ? 0.0 : std::fabs(v));
  return (v < 0 ? "\u2212" : "") + std::string(s); /* a true minus */
}

struct Ticks {
  std::vector<double>      at;
  std::vector<std::string> text;
  std::vector<double>      minor;
  std::string              factor; /* such as x 10^5, if the numbers were long */
};

Ticks LinearTicks(double lo, double hi, int most)
{
  Ticks t;
  t.at             = PlotTicks(lo, hi, most);
  const double big = std::max(std::fabs(lo), std::fabs(hi));
  int          e   = big > 0 ? static_cast<int>(std::floor(std::log10(big))) : 0;
  if (e < 5 && e > -4) e = 0;
  const double scale = std::pow(10.0, e);
  if (e) t.factor = "\u00d7 " + Power(e);
  int decimals = 0;
  if (t.at.size() > 1) decimals = std::max(0, std::min(12, static_cast<int>(-std::floor(std::log10((t.at[1] - t.at[0]) / scale) + 1e-9))));
  for (const double v : t.at) t.text.push_back(Number(v / scale, decimals));
  return t;
}
/* lo, hi are log10 */
Ticks LogTicks(double lo, double hi, int most)
{
  Ticks     t;
  const int a = static_cast<int>(std::ceil(lo - 1e-9)), b = static_cast<int>(std::floor(hi + 1e-9));
  if (b - a < 1) {
    /* less than two decades marked: 1, 2, 5 */
    for (int k = a - 1; k <= b + 1; ++k)
      for (const int m : {1, 2, 3, 5, 7}) {
        const double v = k + std::log10(m);
        if (v < lo - 1e-9 || v > hi + 1e-9) continue;
        t.at.push_back(v);
        t.text.push_back(k >= -3 && k <= 4 ? Number(m * std::pow(10.0, k), std::max(0, -k)) : (m == 1 ? Power(k) : std::to_string(m) + "\u00b7" + Power(k)));
      }
    return t;
  }
  const int step = std::max(1, (b - a + most) / std::max(1, most));
  for (int k = a; k <= b; ++k) {
    if ((k % step + step) % step == 0) {
      t.at.push_back(k);
      t.text.push_back(Power(k));
    } else
      t.minor.push_back(k);
  }
  if (b - a <= 5 && step == 1)
    for (int k = a - 1; k <= b; ++k)
      for (int m = 2; m < 10; ++m) {
        const double v = k + std::log10(m);
        if (v > lo && v < hi) t.minor.push_back(v);
      }
  return t;
}

class Pen {
public:
  explicit Pen(cairo_t *c) : cr(c) { cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL); }
  cairo_t *cr;
  double   Width(const std::string &s, double size = TextSize)
  {
    cairo_text_extents_t e;
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, s.c_str(), &e);
    return e.x_advance;
  }
  /* ax: 0 left, 0.5 centred, 1 right of x; y is the base line, or the middle of the letters */
  void Text(double x, double y, const std::string &s, double ax, bool middle = false, double size = TextSize, bool bold = false)
  {
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    const double w = Width(s, size);
    cairo_set_source_rgb(cr, 0.13, 0.13, 0.13);
    cairo_move_to(cr, x - ax * w, middle ? y + 0.35 * size : y);
    cairo_show_text(cr, s.c_str());
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  }
  void Upright(double x, double y, const std::string &s)
  {
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, -1.5707963267948966);
    Text(0, 0, s, 0.5);
    cairo_restore(cr);
  }
  /* cut to what fits */
  std::string Fit(std::string s, double width, double size)
  {
    if (Width(s, size) <= width) return s;
    while (!s.empty() && Width(s + "\u2026", size) > width) {
      s.pop_back();
      while (!s.empty() && (static_cast<unsigned char>(s.back()) & 0xc0) == 0xc0) s.pop_back();
    }
    return s + "\u2026";
  }
};

struct Frame {
  double x, y, w, h;
};

/* The largest frame of the shape w : h inside, in the middle */
void Fit(Frame &f, double w, double h)
{
  const double s = std::min(f.w / std::fabs(w), f.h / std::fabs(h));
  f.x += (f.w - s * std::fabs(w)) / 2;
  f.y += (f.h - s * std::fabs(h)) / 2;
  f.w = s * std::fabs(w);
  f.h = s * std::fabs(h);
}

void DrawAxes(Pen &pen, const Frame &f, const Ticks &tx, const Ticks &ty, double lx, double hx, double ly, double hy, bool down, bool grid, const PlotPanel &p,
              double labelx, double labely)
{
  cairo_t   *cr = pen.cr;
  const auto X  = [&](double v) { return f.x + (v - lx) / (hx - lx) * f.w; };
  const auto Y  = [&](double v) { return down ? f.y + (v - ly) / (hy - ly) * f.h : f.y + f.h - (v - ly) / (hy - ly) * f.h; };
  cairo_set_line_width(cr, 0.6);
  if (grid) {
    cairo_set_source_rgb(cr, 0.88, 0.88, 0.88);
    for (const double v : tx.at) {
      cairo_move_to(cr, X(v), f.y);
      cairo_line_to(cr, X(v), f.y + f.h);
    }
    for (const double v : ty.at) {
      cairo_move_to(cr, f.x, Y(v));
      cairo_line_to(cr, f.x + f.w, Y(v));
    }
    cairo_stroke(cr);
  }
  cairo_set_source_rgb(cr, 0.3, 0.3, 0.3);
  cairo_set_line_width(cr, 0.8);
  cairo_rectangle(cr, f.x, f.y, f.w, f.h);
  for (const double v : tx.at) {
    cairo_move_to(cr, X(v), f.y + f.h);
    cairo_line_to(cr, X(v), f.y + f.h + 4);
  }
  for (const double v : tx.minor) {
    cairo_move_to(cr, X(v), f.y + f.h);
    cairo_line_to(cr, X(v), f.y + f.h + 2);
  }
  for (const double v : ty.at) {
    cairo_move_to(cr, f.x, Y(v));
    cairo_line_to(cr, f.x - 4, Y(v));
  }
  for (const double v : ty.minor) {
    cairo_move_to(cr, f.x, Y(v));
    cairo_line_to(cr, f.x - 2, Y(v));
  }
  cairo_stroke(cr);
  /* labels that would touch the one before are left out */
  double right = -1e30;
  for (std::size_t k = 0; k < tx.at.size(); ++k) {
    const double w = pen.Width(tx.text[k]), at = X(tx.at[k]);
    if (at - w / 2 < right + 4) continue;
    pen.Text(at, f.y + f.h + 6 + TextSize, tx.text[k], 0.5);
    right = at + w / 2;
  }
  for (std::size_t k = 0; k < ty.at.size(); ++k) pen.Text(f.x - 7, Y(ty.at[k]), ty.text[k], 1, true);
  std::string xl = p.xlabel, yl = p.ylabel;
  if (!tx.factor.empty()) xl += (xl.empty() ? "" : "  ") + ("(" + tx.factor + ")");
  if (!ty.factor.empty()) yl += (yl.empty() ? "" : "  ") + ("(" + ty.factor + ")");
  if (!xl.empty()) pen.Text(f.x + f.w / 2, labelx, pen.Fit(xl, f.w + 60, TextSize), 0.5);
  if (!yl.empty()) pen.Upright(labely, f.y + f.h / 2, pen.Fit(yl, f.h + 40, TextSize));
}

double Widest(Pen &pen, const Ticks &t)
{
  double w = 0;
  for (const auto &s : t.text) w = std::max(w, pen.Width(s));
  return w;
}

void DrawHeat(Pen &pen, const PlotPanel &p, const Frame &box, double zoom)
{
  cairo_t *cr = pen.cr;
  double   lo = std::numeric_limits<double>::infinity(), hi = -lo;
  for (const double v : p.values)
    if (std::isfinite(v)) {
      lo = std::min(lo, v);
      hi = std::max(hi, v);
    }
  const bool nothing = lo > hi;
  if (nothing) lo = 0, hi = 1;
  if (p.range) lo = p.lo, hi = p.hi;
  if (p.diverging) {
    hi = std::max(std::fabs(lo), std::fabs(hi));
    lo = -hi;
  }
  if (!(hi > lo)) {
    const double d = lo != 0 ? std::fabs(lo) * 1e-3 : 1;
    lo -= d;
    hi += d;
  }
  double x0 = p.x0, x1 = p.x1, y0 = p.y0, y1 = p.y1;
  if (x0 == x1) x0 = 0, x1 = p.nx;
  if (y0 == y1) y0 = 0, y1 = p.ny;
  Ticks        tb = LinearTicks(lo, hi, 7), ty = LinearTicks(std::min(y0, y1), std::max(y0, y1), 7);
  const double left = Widest(pen, ty) + 12 + (p.ylabel.empty() && ty.factor.empty() ? 0 : TextSize + 6), barw = p.nobar ? 0 : 14;
  const double right  = p.nobar ? 10 : 12 + barw + 8 + Widest(pen, tb) + (p.bar.empty() && tb.factor.empty() ? 6 : TextSize + 14);
  Frame        f      = {box.x + left, box.y + 30, box.w - left - right, 0};
  Ticks        tx     = LinearTicks(std::min(x0, x1), std::max(x0, x1), std::max(2, static_cast<int>(f.w / 60)));
  const double bottom = TextSize + 12 + (p.xlabel.empty() && tx.factor.empty() ? 0 : TextSize + 6);
  f.h                 = box.h - 30 - bottom;
  if (p.image) {
    Fit(f, p.nx, p.ny);
    tx = LinearTicks(std::min(x0, x1), std::max(x0, x1), std::max(2, static_cast<int>(f.w / 60)));
  }
  if (p.equal && !p.image) {
    Fit(f, x1 - x0, y1 - y0);
    tx = LinearTicks(std::min(x0, x1), std::max(x0, x1), std::max(2, static_cast<int>(f.w / 60)));
  }
  /* colours, averaged where there are more values than dots */
  const int        mx = std::max(1, std::min(p.nx, static_cast<int>(f.w * zoom))), my = std::max(1, std::min(p.ny, static_cast<int>(f.h * zoom)));
  cairo_surface_t *img = cairo_image_surface_create(CAIRO_FORMAT_RGB24, mx, my);
  cairo_surface_flush(img);
  unsigned char             *data   = cairo_image_surface_get_data(img);
  const int                  stride = cairo_image_surface_get_stride(img);
  std::vector<std::uint32_t> table(256);
  for (int k = 0; k < 256; ++k) {
    double c[3];
    PlotColour(k / 255.0, p.diverging, c);
    table[static_cast<std::size_t>(k)] = (static_cast<std::uint32_t>(std::lround(255 * c[0])) << 16) |
                                         (static_cast<std::uint32_t>(std::lround(255 * c[1])) << 8) | static_cast<std::uint32_t>(std::lround(255 * c[2]));
  }
  for (int i = 0; data && i < my; ++i)
    for (int j = 0; j < mx; ++j) {
      const int i0 = static_cast<int>(static_cast<std::int64_t>(i) * p.ny / my),
                i1 = std::max(i0 + 1, static_cast<int>(static_cast<std::int64_t>(i + 1) * p.ny / my));
      const int j0 = static_cast<int>(static_cast<std::int64_t>(j) * p.nx / mx),
                j1 = std::max(j0 + 1, static_cast<int>(static_cast<std::int64_t>(j + 1) * p.nx / mx));
      double sum   = 0;
      int    n     = 0;
      for (int a = i0; a < i1; ++a)
        for (int b = j0; b < j1; ++b) {
          const double v = p.values[static_cast<std::size_t>(a) * static_cast<std::size_t>(p.nx) + static_cast<std::size_t>(b)];
          if (std::isfinite(v)) {
            sum += v;
            ++n;
          }
        }
      std::uint32_t c = 0xb8b8b8;
      if (n) c = table[static_cast<std::size_t>(std::lround(255 * std::min(1.0, std::max(0.0, (sum / n - lo) / (hi - lo)))))];
      const int row                                                                          = p.image ? i : my - 1 - i;
      reinterpret_cast<std::uint32_t *>(data + static_cast<std::ptrdiff_t>(row) * stride)[j] = c;
    }
  cairo_surface_mark_dirty(img);
  cairo_save(cr);
  cairo_rectangle(cr, f.x, f.y, f.w, f.h);
  cairo_clip(cr);
  cairo_translate(cr, f.x, f.y);
  cairo_scale(cr, f.w / mx, f.h / my);
  cairo_set_source_surface(cr, img, 0, 0);
  cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
  cairo_paint(cr);
  cairo_restore(cr);
  cairo_surface_destroy(img);
  pen.Text(f.x + f.w / 2, f.y - 10, pen.Fit(p.title, box.w - 20, TitleSize), 0.5, false, TitleSize, true);
  DrawAxes(pen, f, tx, ty, x0, x1, y0, y1, p.image, false, p, f.y + f.h + 8 + 2 * TextSize + 6, f.x - 12 - Widest(pen, ty) - 4);
  if (p.nobar) return;
  const Frame b = {f.x + f.w + 12, f.y, barw, f.h};
  for (int k = 0; k < 256; ++k) {
    double c[3];
    PlotColour(k / 255.0, p.diverging, c);
    cairo_set_source_rgb(cr, c[0], c[1], c[2]);
    cairo_rectangle(cr, b.x, b.y + b.h * (255 - k) / 256.0, b.w, b.h / 256.0 + (k ? 0.6 : 0));
    cairo_fill(cr);
  }
  cairo_set_source_rgb(cr, 0.3, 0.3, 0.3);
  cairo_set_line_width(cr, 0.8);
  cairo_rectangle(cr, b.x, b.y, b.w, b.h);
  for (const double v : tb.at) {
    const double y = b.y + b.h * (1 - (v - lo) / (hi - lo));
    cairo_move_to(cr, b.x + b.w, y);
    cairo_line_to(cr, b.x + b.w + 4, y);
  }
  cairo_stroke(cr);
  for (std::size_t k = 0; k < tb.at.size(); ++k) pen.Text(b.x + b.w + 7, b.y + b.h * (1 - (tb.at[k] - lo) / (hi - lo)), tb.text[k], 0, true);
  std::string label = p.bar;
  if (!tb.factor.empty()) label += (label.empty() ? "" : "  ") + ("(" + tb.factor + ")");
  if (!label.empty()) pen.Upright(b.x + b.w + 12 + Widest(pen, tb) + TextSize, b.y + b.h / 2, pen.Fit(label, b.h + 30, TextSize));
}

/* Okabe and Ito's colours, told apart by the colour-blind */
const double Palette[7][3] = {{0, 0.447, 0.698}, {0.835, 0.369, 0},     {0, 0.62, 0.451}, {0.8, 0.475, 0.655},
                              {0.902, 0.624, 0}, {0.337, 0.706, 0.914}, {0.3, 0.3, 0.3}};

void Marker(cairo_t *cr, double x, double y, std::size_t kind)
{
  const double r = 2.6;
  switch (kind % 3) {
  case 0:
    cairo_arc(cr, x, y, r, 0, 6.2831853071795865);
    break;
  case 1:
    cairo_rectangle(cr, x - r * 0.9, y - r * 0.9, 1.8 * r, 1.8 * r);
    break;
  default:
    cairo_move_to(cr, x, y - 1.2 * r);
    cairo_line_to(cr, x + 1.1 * r, y + 0.9 * r);
    cairo_line_to(cr, x - 1.1 * r, y + 0.9 * r);
    cairo_close_path(cr);
  }
  cairo_fill(cr);
}

void DrawLines(Pen &pen, const PlotPanel &p, const Frame &box)
{
  cairo_t     *cr  = pen.cr;
  const double inf = std::numeric_limits<double>::infinity(), none = std::numeric_limits<double>::quiet_NaN();
  double       lx = inf, hx = -inf, ly = inf, hy = -inf;
  const auto   U = [&](double v, bool log) { return log ? (v > 0 ? std::log10(v) : none) : v; };
  for (const auto &s : p.series)
    for (std::size_t k = 0; k < std::min(s.x.size(), s.y.size()); ++k) {
      const double x = U(s.x[k], p.logx), y = U(s.y[k], p.logy);
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      lx = std::min(lx, x);
      hx = std::max(hx, x);
      ly = std::min(ly, y);
      hy = std::max(hy, y);
    }
  if (lx > hx) lx = ly = 0, hx = hy = 1;
  const auto widen = [](double &a, double &b) {
    const double d = b > a ? 0.04 * (b - a) : (a != 0 ? 0.05 * std::fabs(a) : 0.5);
    a -= d;
    b += d;
  };
  widen(lx, hx);
  widen(ly, hy);
  if (p.x0 != p.x1) lx = p.x0, hx = p.x1;
  if (p.y0 != p.y1) ly = p.y0, hy = p.y1;
  Ticks        ty     = p.logy ? LogTicks(ly, hy, 8) : LinearTicks(ly, hy, 7);
  const double left   = Widest(pen, ty) + 12 + (p.ylabel.empty() && ty.factor.empty() ? 0 : TextSize + 6);
  Frame        f      = {box.x + left, box.y + 30, box.w - left - 16, 0};
  Ticks        tx     = p.logx ? LogTicks(lx, hx, std::max(2, static_cast<int>(f.w / 50))) : LinearTicks(lx, hx, std::max(2, static_cast<int>(f.w / 60)));
  const double bottom = TextSize + 12 + (p.xlabel.empty() && tx.factor.empty() ? 0 : TextSize + 6);
  f.h                 = box.h - 30 - bottom;
  if (p.equal && !p.logx && !p.logy) {
    Fit(f, hx - lx, hy - ly);
    tx = LinearTicks(lx, hx, std::max(2, static_cast<int>(f.w / 60)));
  }
  pen.Text(f.x + f.w / 2, f.y - 10, pen.Fit(p.title, box.w - 20, TitleSize), 0.5, false, TitleSize, true);
  DrawAxes(pen, f, tx, ty, lx, hx, ly, hy, false, true, p, f.y + f.h + 8 + 2 * TextSize + 6, f.x - 12 - Widest(pen, ty) - 4);
  const auto X = [&](double v) { return f.x + (v - lx) / (hx - lx) * f.w; };
  const auto Y = [&](double v) { return f.y + f.h - (v - ly) / (hy - ly) * f.h; };
  /* points in the corners, to lay the legend where the fewest are */
  double legendw = 0, legendh = 8;
  for (const auto &s : p.series)
    if (!s.label.empty()) {
      legendw = std::max(legendw, pen.Width(s.label) + 40);
      legendh += TextSize + 5;
    }
  int corner[4] = {0, 0, 0, 0};
  cairo_save(cr);
  cairo_rectangle(cr, f.x, f.y, f.w, f.h);
  cairo_clip(cr);
  for (std::size_t q = 0; q < p.series.size(); ++q) {
    const auto &s = p.series[q];
    cairo_set_source_rgb(cr, Palette[q % 7][0], Palette[q % 7][1], Palette[q % 7][2]);
    cairo_set_line_width(cr, 1.6);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    bool   pen_down = false;
    double px = 0, py = 0;
    for (std::size_t k = 0; k < std::min(s.x.size(), s.y.size()); ++k) {
      const double x = U(s.x[k], p.logx), y = U(s.y[k], p.logy);
      if (!std::isfinite(x) || !std::isfinite(y)) {
        pen_down = false;
        continue;
      }
      const double cx = X(x), cy = Y(y);
      for (int t = pen_down && !s.points ? 0 : 9; t < 10; ++t) {
        /* on the way from the point before, too: a line may pass where no point is */
        const double ux = px + (cx - px) * (t + 1) / 10, uy = py + (cy - py) * (t + 1) / 10, vx = t == 9 ? cx : ux, vy = t == 9 ? cy : uy;
        const bool l = vx<f.x + legendw + 16, r = vx> f.x + f.w - legendw - 16, u = vy<f.y + legendh + 16, d = vy> f.y + f.h - legendh - 16;
        corner[0] += r && u;
        corner[1] += l && u;
        corner[2] += r && d;
        corner[3] += l && d;
      }
      if (s.points)
        Marker(cr, cx, cy, q);
      else if (pen_down)
        cairo_line_to(cr, cx, cy);
      else
        cairo_move_to(cr, cx, cy);
      pen_down = true;
      px       = cx;
      py       = cy;
    }
    if (!s.points) cairo_stroke(cr);
  }
  cairo_restore(cr);
  if (legendw == 0) return;
  const int    best = static_cast<int>(std::min_element(corner, corner + 4) - corner);
  const double bx = best == 0 || best == 2 ? f.x + f.w - legendw - 8 : f.x + 8, by = best < 2 ? f.y + 8 : f.y + f.h - legendh - 8;
  cairo_set_source_rgba(cr, 1, 1, 1, 0.85);
  cairo_rectangle(cr, bx, by, legendw, legendh);
  cairo_fill_preserve(cr);
  cairo_set_source_rgb(cr, 0.75, 0.75, 0.75);
  cairo_set_line_width(cr, 0.6);
  cairo_stroke(cr);
  double y = by + 4 + (TextSize + 5) / 2;
  for (std::size_t q = 0; q < p.series.size(); ++q) {
    if (p.series[q].label.empty()) continue;
    cairo_set_source_rgb(cr, Palette[q % 7][0], Palette[q % 7][1], Palette[q % 7][2]);
    if (p.series[q].points)
      Marker(cr, bx + 17, y, q);
    else {
      cairo_set_line_width(cr, 1.6);
      cairo_move_to(cr, bx + 7, y);
      cairo_line_to(cr, bx + 27, y);
      cairo_stroke(cr);
    }
    pen.Text(bx + 34, y, p.series[q].label, 0, true);
    y += TextSize + 5;
  }
}

/* Draws to a file; an empty text or what went wrong */
std::string Draw(const PlotFigure &fig, const std::string &path, const std::string &name)
{
  const int    cols = std::max(1, std::min(fig.columns, static_cast<int>(fig.panels.size()))), rows = (static_cast<int>(fig.panels.size()) + cols - 1) / cols;
  const double top = fig.title.empty() ? 0 : 30, W = cols * fig.width, H = rows * fig.height + top + 6, zoom = 2;
  const bool   svg = io::HasSuffix(name, ".svg"), pdf = io::HasSuffix(name, ".pdf");
  cairo_surface_t *surface = svg   ? cairo_svg_surface_create(path.c_str(), W, H)
                             : pdf ? cairo_pdf_surface_create(path.c_str(), W, H)
                                   : cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(W * zoom), static_cast<int>(H * zoom));
  cairo_t         *cr      = cairo_create(surface);
  if (!svg && !pdf) cairo_scale(cr, zoom, zoom);
  cairo_set_source_rgb(cr, 1, 1, 1);
  cairo_paint(cr);
  Pen pen(cr);
  if (!fig.title.empty()) pen.Text(W / 2, 22, pen.Fit(fig.title, W - 20, TitleSize + 2), 0.5, false, TitleSize + 2, true);
  for (std::size_t k = 0; k < fig.panels.size(); ++k) {
    const int   row = static_cast<int>(k) / cols, col = static_cast<int>(k) % cols;
    const Frame box = {static_cast<double>(col) * fig.width + 6, top + static_cast<double>(row) * fig.height, fig.width - 12, fig.height};
    if (fig.panels[k].kind == PlotPanel::HeatMap)
      DrawHeat(pen, fig.panels[k], box, zoom);
    else
      DrawLines(pen, fig.panels[k], box);
  }
  cairo_show_page(cr);
  cairo_status_t s = cairo_status(cr);
  cairo_destroy(cr);
  if (s == CAIRO_STATUS_SUCCESS && !svg && !pdf) s = cairo_surface_write_to_png(surface, path.c_str());
  cairo_surface_finish(surface);
  if (s == CAIRO_STATUS_SUCCESS) s = cairo_surface_status(surface);
  cairo_surface_destroy(surface);
  return s == CAIRO_STATUS_SUCCESS ? "" : std::string("cannot draw: ") + cairo_status_to_string(s);
}
} // namespace

static PetscErrorCode PlotWrite_Cairo(MPI_Comm comm, const PlotFigure &fig, const std::string &file)
{
  PetscMPIInt    rank;
  io::Error      err;
  io::AtomicFile out;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!io::HasSuffix(file, ".png") && !io::HasSuffix(file, ".svg") && !io::HasSuffix(file, ".pdf"))
    err.Set(io::Why::Unsupported, "pictures are .png, .svg or .pdf");
  if (!rank) {
    if (fig.panels.empty()) err.Set(io::Why::Malformed, "the figure has no panel");
    for (const auto &p : fig.panels)
      if (p.kind == PlotPanel::HeatMap && (p.nx < 1 || p.ny < 1 || p.values.size() != static_cast<std::size_t>(p.nx) * static_cast<std::size_t>(p.ny)))
        err.Set(io::Why::Malformed, "panel '" + p.title + "' has " + std::to_string(p.values.size()) + " values for " + std::to_string(p.nx) + " x " +
                                      std::to_string(p.ny) + " points");
  }
  PetscCall(io::Agree(comm, file, err));
  PetscCall(out.Begin(comm, file));
  if (!rank) {
    const std::string bad = Draw(fig, out.Temp(), file);
    if (!bad.empty()) err.Set(io::Why::Open, bad);
  }
  PetscCall(out.Commit(err));
  PetscFunctionReturn(PETSC_SUCCESS);
}
#endif

PetscErrorCode PlotWrite(MPI_Comm comm, const PlotFigure &figure, const std::string &file)
{
  PetscFunctionBegin;
#if defined(SKEAN_HAVE_CAIRO)
  PetscErrorCode ierr;
  PetscCallCXX(ierr = PlotWrite_Cairo(comm, figure, file));
  PetscCall(ierr);
#else
  (void)figure;
  SETERRQ(comm, PETSC_ERR_SUP, "%s: built without Cairo, which draws the pictures; install libcairo2-dev and build again", file.c_str());
#endif
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean

#include "iotest.hpp"
#include <skean/private/plot.hpp>
#include <skean/private/progress.hpp>
#include <cstdlib>
#include <limits>
#include <sys/stat.h>

using skean::PlotFigure;
using skean::PlotPanel;

TEST(Plot, Ticks)
{
  EXPECT_EQ(skean::PlotTicks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(skean::PlotTicks(-0.3, 0.3, 4), (std::vector<double>{-0.2, 0, 0.2}));
  EXPECT_TRUE(skean::PlotTicks(1, 1, 5).empty());
  for (double span : {1e-12, 3.0, 7e8})
    for (int most : {3, 7, 10}) {
      const auto t = skean::PlotTicks(-0.4 * span, 0.6 * span, most);
      EXPECT_GE(t.size(), 2u);
      EXPECT_LE(t.size(), static_cast<std::size_t>(most) + 1);
    }
}

/* Lightness (from linear luminance) must rise without a step back */
TEST(Plot, ColoursAreMonotone)
{
  const auto light = [](double t, bool diverging) {
    double c[3], lin[3];
    skean::PlotColour(t, diverging, c);
    for (int k = 0; k < 3; ++k) lin[k] = c[k] <= 0.04045 ? c[k] / 12.92 : std::pow((c[k] + 0.055) / 1.055, 2.4);
    const double Y = 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2];
    return Y > 0.008856 ? 116 * std::cbrt(Y) - 16 : 903.3 * Y;
  };
  for (int k = 0; k < 100; ++k) {
    EXPECT_NEAR(light((k + 1) / 100.0, false) - light(k / 100.0, false), 0.76, 0.25) << k;
    EXPECT_NEAR(light(k / 100.0, true), light(1 - k / 100.0, true), 1.5) << "symmetric";
  }
}

TEST(Plot, Figure)
{
#if defined(SKEAN_HAVE_CAIRO)
  const char       *keep = std::getenv("SKEAN_PLOT_DIR"); /* to look at them */
  const std::string dir  = keep ? keep : skeantest::ScratchDir();
  PlotFigure        fig(2);
  fig.title              = "Six panels";
  const int           nx = 180, ny = 90;
  std::vector<double> t, r, x, y, z, w;
  for (int i = 0; i < ny; ++i)
    for (int j = 0; j < nx; ++j) {
      const double lat = -89 + 2 * i, lon = 1 + 2 * j;
      const bool   land = std::hypot(lat - 10, lon - 100) < 25 || lat < -75;
      t.push_back(land ? std::numeric_limits<double>::quiet_NaN() : 28 * std::cos(lat * 0.01745) + 2 * std::sin(lon * 0.05));
      r.push_back(land ? std::numeric_limits<double>::quiet_NaN() : 1e-7 * std::sin(lat * 0.1) * std::cos(lon * 0.07));
    }
  for (int k = 0; k < 40; ++k) {
    x.push_back(k);
    y.push_back(std::pow(10.0, -0.35 * k));
    z.push_back(3 * std::pow(10.0, -0.2 * k) * (1 + 0.3 * std::sin(k)));
    w.push_back(1e6 * std::sin(0.2 * k));
  }
  fig.Add(PlotPanel::Heat("Sea-surface temperature", nx, ny, t).Extent(0, 360, -90, 90).Labels("longitude", "latitude").Bar("degrees C"));
  fig.Add(PlotPanel::Heat("Residual", nx, ny, r).Extent(0, 360, -90, 90).Labels("longitude", "latitude").Diverging());
  fig.Add(PlotPanel::Lines("Convergence").Labels("iteration", "relative error").LogY().Add("sns", x, y).Add("sinkhorn", x, z).Add("tested", x, z, true));
  fig.Add(PlotPanel::Lines("Signal").Labels("step", "value").Add("", x, w));
  fig.Add(PlotPanel::Heat("Map", nx, ny, t).Extent(0, 360, -90, 90).Labels("longitude", "latitude").Equal());
  fig.Add(PlotPanel::Lines("Path on the map").Extent(0, 360, -90, 90).Equal().Add("path", x, z));
  for (const char *ending : {"png", "svg", "pdf"}) {
    const std::string path = dir + "/figure." + ending;
    ASSERT_PETSC(skean::PlotWrite(PETSC_COMM_WORLD, fig, path));
    struct stat st;
    ASSERT_ALL(!stat(path.c_str(), &st));
    EXPECT_GT(st.st_size, 5000);
  }
  std::string m;
  EXPECT_EQ(skeantest::ErrorOf([&] { return skean::PlotWrite(PETSC_COMM_WORLD, fig, dir + "/figure.gif"); }, &m), PETSC_ERR_SUP);
  EXPECT_TEXT(m, "pictures are .png, .svg or .pdf");
  fig.panels[0].nx = 7;
  EXPECT_NE(skeantest::ErrorOf([&] { return skean::PlotWrite(PETSC_COMM_WORLD, fig, dir + "/bad.png"); }, &m), 0);
  EXPECT_TEXT(m, "'Sea-surface temperature' has 16200 values for 7 x 90 points");
  /* nothing but missing values, a constant, one point: no division by zero */
  PlotFigure odd(3);
  odd.Add(PlotPanel::Heat("missing", 2, 2, std::vector<double>(4, std::numeric_limits<double>::quiet_NaN())));
  odd.Add(PlotPanel::Heat("constant", 2, 2, std::vector<double>(4, 5.0)).Image());
  odd.Add(PlotPanel::Lines("a point").LogX().LogY().Add("one", {3}, {2}, true));
  ASSERT_PETSC(skean::PlotWrite(PETSC_COMM_WORLD, odd, dir + "/odd.png"));
#else
  std::string m;
  EXPECT_EQ(skeantest::ErrorOf([&] { return skean::PlotWrite(PETSC_COMM_WORLD, PlotFigure(), "x.png"); }, &m), PETSC_ERR_SUP);
  EXPECT_TEXT(m, "built without Cairo");
#endif
}

TEST(Progress, PrintsOnlyWhenAsked)
{
  const std::string path = skeantest::ScratchDir() + "/progress.txt";
  PetscViewer       viewer;
  ASSERT_PETSC(PetscViewerASCIIOpen(PETSC_COMM_WORLD, path.c_str(), &viewer));
  {
    skean::Progress p(PETSC_COMM_WORLD, viewer, "reading", 10, 0.0), quiet(PETSC_COMM_WORLD, nullptr, "silent", 10, 0.0),
      slow(PETSC_COMM_WORLD, viewer, "slow", 10, 1000.0);
    for (int k = 0; k <= 10; ++k) {
      ASSERT_PETSC(p.Update(k));
      ASSERT_PETSC(quiet.Update(k));
      ASSERT_PETSC(slow.Update(k));
    }
    ASSERT_PETSC(p.Done());
    ASSERT_PETSC(quiet.Done());
    ASSERT_PETSC(slow.Done());
  }
  ASSERT_PETSC(PetscViewerDestroy(&viewer));
  MPI_Barrier(PETSC_COMM_WORLD);
  std::ifstream f(path);
  std::string   s((std::istreambuf_iterator<char>(f)), std::istreambuf_iterator<char>());
  EXPECT_TEXT(s, "reading: 5 of 10 (50 %)");
  EXPECT_TEXT(s, "reading: done in");
  EXPECT_EQ(s.find("silent"), std::string::npos);
  EXPECT_EQ(s.find("slow"), std::string::npos);
}

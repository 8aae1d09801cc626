/* Covariance functions: derivatives against the complex step of independent formulas and against differences, parser, matrices */
#include "harness/skeantest.hpp"
#include <skean/private/gpkernels.hpp>
#include <cmath>
#include <complex>
#include <random>

using skean::gp::Kernel1D;
using C = std::complex<double>;

namespace {
const double PI = std::acos(-1.0);

C Matern(C r, int nu2)
{
  const C p = nu2 == 1 ? C(1) : nu2 == 3 ? 1.0 + r : nu2 == 5 ? 1.0 + r + r * r / 3.0 : 1.0 + r + 2.0 * r * r / 5.0 + r * r * r / 15.0;
  return p * std::exp(-r);
}
/* k(z; theta) for z > 0, in the optimiser's coordinates */
using Formula = C (*)(C z, const std::vector<C> &t);
template <int nu2>
C MaternFormula(C z, const std::vector<C> &t)
{
  return Matern(std::sqrt(double(nu2)) * z / std::exp(t[0]), nu2);
}
C SE(C z, const std::vector<C> &t)
{
  return std::exp(-0.5 * z * z / std::exp(2.0 * t[0]));
}
C Periodic(C z, const std::vector<C> &t)
{
  const C s = std::sin(PI * z / std::exp(t[1]));
  return std::exp(-2.0 * s * s / std::exp(2.0 * t[0]));
}
template <int nu2>
C Chordal(C z, const std::vector<C> &t)
{
  const C p = std::exp(t[1]);
  return MaternFormula<nu2>(p / PI * std::sin(PI * z / p), {t[0]}); /* 0 < z < p */
}
C RQ(C z, const std::vector<C> &t)
{
  const C a = std::exp(t[1]);
  return std::exp(-a * std::log(1.0 + z * z / (2.0 * a * std::exp(2.0 * t[0]))));
}
template <int nu2>
C Mixture(C z, const std::vector<C> &t)
{
  C k = 0;
  for (size_t q = 0; 3 * q < t.size(); q++) {
    const C e = nu2 ? Matern(std::sqrt(double(nu2)) * z / std::exp(t[3 * q + 1]), nu2) : SE(z, {t[3 * q + 1]});
    k += std::exp(t[3 * q]) * e * std::cos(2 * PI * t[3 * q + 2] * z);
  }
  return k;
}
C SumProduct(C z, const std::vector<C> &t) /* 2*se(.7)*periodic(.9,1.3)+.5*matern72(.8) */
{
  return std::exp(t[0]) * SE(z, {t[1]}) * Periodic(z, {t[2], t[3]}) + std::exp(t[4]) * MaternFormula<7>(z, {t[5]});
}
C Const(C, const std::vector<C> &t)
{
  return std::exp(t[0]);
}
struct Case {
  const char *text;
  Formula     f;
};
const Case cases[] = {
  {"se(0.7)", SE},
  {"matern12(0.7)", MaternFormula<1>},
  {"matern32(0.7)", MaternFormula<3>},
  {"matern52(0.7)", MaternFormula<5>},
  {"matern72(0.7)", MaternFormula<7>},
  {"periodic(0.9,1.3)", Periodic},
  {"chordal12(0.9,7.3)", Chordal<1>},
  {"chordal32(0.9,7.3)", Chordal<3>},
  {"chordal52(0.9,7.3)", Chordal<5>},
  {"chordal72(0.9,7.3)", Chordal<7>},
  {"rq(0.6,1.7)", RQ},
  {"const(2.5)", Const},
  {"sm:2(0.4,0.5,1.1,0.6,0.8,-0.3)", Mixture<0>},
  {"smt:2(0.4,0.5,1.1,0.6,0.8,-0.3)", Mixture<5>},
  {"smt12:1(0.4,0.5,1.1)", Mixture<1>},
  {"smt32:1(0.4,0.5,1.1)", Mixture<3>},
  {"smt72:1(0.4,0.5,1.1)", Mixture<7>},
  {"2*se(.7)*periodic(.9,1.3)+.5*matern72(.8)", SumProduct},
};

Kernel1D Parse(const char *text)
{
  Kernel1D k;
  EXPECT_EQ(skean::gp::KernelParse(PETSC_COMM_WORLD, text, &k), PETSC_SUCCESS) << text;
  return k;
}
std::vector<double> Eval(const Kernel1D &k, double z, int order)
{
  std::vector<double> v(order + 1);
  EXPECT_EQ(k.Eval(1, &z, order, v.data()), PETSC_SUCCESS);
  return v;
}
} // namespace

TEST(Kernels, ValuesAndDerivatives)
{
  for (const Case &c : cases) {
    const Kernel1D            k = Parse(c.text);
    const std::vector<double> t = k.Params();
    const std::vector<C>      tc(t.begin(), t.end());
    for (double z : {0.05, 0.4, 1.3, 3.0, 1e-3}) {
      const auto v = Eval(k, z, 4), w = Eval(k, -z, 4);
      EXPECT_NEAR(v[0], c.f(z, tc).real(), 1e-14 * (1 + std::fabs(v[0]))) << c.text << " z=" << z;
      EXPECT_NEAR(v[1], c.f(C(z, 1e-40), tc).imag() / 1e-40, 1e-13 * (1 + std::fabs(v[1]))) << c.text << " z=" << z;
      for (int m = 0; m <= 4; m++) EXPECT_EQ(w[m], m % 2 ? -v[m] : v[m]) << "even and odd orders, " << c.text;
      /* higher orders: fourth-order central differences of the order below */
      const double h = 2e-4 * std::min(1.0, 10 * z);
      for (int m = 2; m <= 4; m++) {
        const double d = (8 * (Eval(k, z + h, m)[m - 1] - Eval(k, z - h, m)[m - 1]) - (Eval(k, z + 2 * h, m)[m - 1] - Eval(k, z - 2 * h, m)[m - 1])) / (12 * h);
        double       scale = 1;
        for (double x : v) scale = std::max(scale, std::fabs(x));
        EXPECT_NEAR(v[m], d, 2e-8 * scale) << c.text << " order " << m << " z=" << z;
      }
    }
  }
}

TEST(Kernels, AtZero)
{
  for (const Case &c : cases) {
    const Kernel1D k = Parse(c.text);
    const auto     v = Eval(k, 0.0, 4), w = Eval(k, 1e-9, 4);
    EXPECT_EQ(v[1], 0.0);
    EXPECT_EQ(v[3], 0.0);
    double scale = 1;
    for (double x : v) scale = std::max(scale, std::fabs(x));
    for (int m = 0; m <= 4; m++) {
      if (m % 2 && m > k.Smoothness()) continue;
      EXPECT_NEAR(v[m], w[m], 1e-7 * scale * scale) << c.text << " order " << m;
    }
  }
  /* k''(0) = -a^2/3 for Matern-5/2, a^2 = 5/ell^2; -1/ell^2 for se; third derivative of matern72 at 0 is 0, its fourth a^4/5 */
  EXPECT_NEAR(Eval(Parse("matern52(0.5)"), 0.0, 2)[2], -20.0 / 3, 1e-13);
  EXPECT_NEAR(Eval(Parse("se(0.5)"), 0.0, 2)[2], -4.0, 1e-14);
  EXPECT_NEAR(Eval(Parse("matern32"), 0.0, 2)[2], -3.0, 1e-14);
  EXPECT_NEAR(Eval(Parse("matern72"), 0.0, 4)[4], 49.0 / 5, 1e-12);
  EXPECT_EQ(Parse("matern52").Smoothness(), 4);
  EXPECT_EQ(Parse("se*matern32").Smoothness(), 2);
}

TEST(Kernels, GradientsInTheta)
{
  for (const Case &c : cases) {
    Kernel1D            k  = Parse(c.text);
    std::vector<double> t  = k.Params();
    const size_t        np = t.size();
    for (double z : {0.0, 0.3, -0.8, 1e-4}) {
      std::vector<double> v(4), g(np * 4);
      ASSERT_PETSC(k.EvalGrad(1, &z, 3, v.data(), g.data()));
      for (size_t p = 0; p < np; p++) {
        std::vector<C> tc(t.begin(), t.end());
        tc[p] += C(0, 1e-40);
        EXPECT_NEAR(g[p * 4], c.f(std::fabs(z), tc).imag() / 1e-40, 1e-13 * (1 + std::fabs(g[p * 4]))) << c.text << " " << k.ParamName(p);
        /* fourth-order central difference */
        std::vector<double> s = t, d(4, 0.0), e(4);
        const double        h = 2e-4, shift[] = {h, -h, 2 * h, -2 * h}, weight[] = {8, -8, -1, 1};
        for (int l = 0; l < 4; l++) {
          s[p] = t[p] + shift[l];
          k.SetParams(s.data());
          ASSERT_PETSC(k.Eval(1, &z, 3, e.data()));
          for (int m = 0; m < 4; m++) d[m] += weight[l] * e[m] / (12 * h);
        }
        k.SetParams(t.data());
        double scale = 1;
        for (int m = 0; m < 4; m++) scale = std::max(scale, std::fabs(v[m]));
        for (int m = 0; m < 4; m++) EXPECT_NEAR(g[p * 4 + m], d[m], 1e-9 * scale) << c.text << " " << k.ParamName(p) << " order " << m << " z=" << z;
      }
    }
  }
}

TEST(Kernels, ParserRoundTripAndErrors)
{
  for (const char *s : {"matern52", "sm:30", "se+periodic", "se*periodic", "const(3)*(se+0.5*periodic(1,12))*matern72", " 0.3 * se ( 2e-1 ) + white(1e-4)"}) {
    const Kernel1D k = Parse(s), l = Parse(k.Text().c_str());
    EXPECT_EQ(k.NumParams(), l.NumParams());
    for (size_t p = 0; p < k.NumParams(); p++) {
      EXPECT_NEAR(k.Params()[p], l.Params()[p], 1e-14 * (1 + std::fabs(k.Params()[p]))) << s;
      EXPECT_FALSE(k.ParamName(p).empty());
    }
    EXPECT_NEAR(Eval(k, 0.3, 0)[0], Eval(l, 0.3, 0)[0], 1e-14);
  }
  /* numbers come back as they were written */
  for (const char *s : {"se(3)", "periodic(1.5,12)", "0.3*se(0.2)+1*white(0.0001)", "sm:1(0.7,1e+30,0.1)", "rq(0.1,7)", "matern52(1e-09)"})
    EXPECT_EQ(Parse(s).Text(), s);
  for (int i = 1; i < 2000; i++) { /* and whatever the value, to rounding */
    const double   ell = std::exp(0.02 * (i - 1000) + 1e-3 * std::sin(i));
    const Kernel1D k = Parse(("se(" + std::to_string(ell) + "1)").c_str()), l = Parse(k.Text().c_str());
    EXPECT_NEAR(k.Params()[0], l.Params()[0], 3e-16 * (1 + std::fabs(k.Params()[0])));
  }
  EXPECT_EQ(Parse("sm:30").NumParams(), 90u);
  EXPECT_EQ(Parse("se+periodic").NumParams(), 5u);
  EXPECT_EQ(Parse("se+periodic").ParamName(4), "2.period");
  EXPECT_EQ(Parse("se*periodic").NumParams(), 3u);
  EXPECT_FALSE(Parse("sm:2").ParamIsLog(2));
  std::vector<Kernel1D> list;
  ASSERT_PETSC(skean::gp::KernelParseList(PETSC_COMM_WORLD, "periodic(1,12),se*rq(1,2),matern12", 3, &list));
  EXPECT_EQ(list[1].NumParams(), 3u);
  ASSERT_PETSC(skean::gp::KernelParseList(PETSC_COMM_WORLD, "periodic(1,12)", 3, &list));
  EXPECT_EQ(list[2].NumParams(), 2u);
  for (const char *bad : {"", "matern62", "se+", "se**se", "sm", "sm:0", "sm:2.5", "se(0)", "se(-1)", "se(1,2)", "se)", "(se", "2+se", "0*se", "periodic(1",
                          "se:3", "sm:2(1,2,3)"}) {
    Kernel1D    k;
    std::string message;
    EXPECT_EQ(skeantest::ErrorOf([&] { return skean::gp::KernelParse(PETSC_COMM_WORLD, bad, &k); }, &message), PETSC_ERR_USER_INPUT) << bad;
    EXPECT_TRUE(k.Empty());
    if (!skeantest::Rank()) { EXPECT_NE(message.find("character"), std::string::npos) << message; }
  }
  EXPECT_EQ(skeantest::ErrorOf([&] { return skean::gp::KernelParseList(PETSC_COMM_WORLD, "se,se", 3, &list); }), PETSC_ERR_USER_INPUT);
}

TEST(Kernels, Matrices)
{
  const Kernel1D      k        = Parse("0.7*smt:2(0.4,0.5,1.1,0.6,0.8,-0.3)+0.3*se(0.4)+white(0.25)");
  const size_t        n        = 9;
  std::vector<double> grids[2] = {std::vector<double>(n), std::vector<double>(n)};
  for (size_t i = 0; i < n; i++) {
    grids[0][i] = 0.3 + 0.1 * i;                 /* uniform */
    grids[1][i] = -std::cos(PI * i / (n - 1.0)); /* Chebyshev */
  }
  for (const auto &x : grids) {
    std::vector<double> K[4], R[2];
    double             *Kp[4], *Rp[2];
    for (int m = 0; m < 4; m++) K[m].assign(n * n, -1), Kp[m] = K[m].data();
    for (int m = 0; m < 2; m++) R[m].assign(n * 3, -1), Rp[m] = R[m].data();
    ASSERT_PETSC(skean::gp::KernelMatrix(k, n, x.data(), 0, nullptr, 3, Kp));
    ASSERT_PETSC(skean::gp::KernelMatrix(k, n, x.data(), 3, x.data() + 2, 1, Rp));
    for (size_t j = 0; j < n; j++)
      for (size_t i = 0; i < n; i++) {
        double v[4];
        double z = x[i] - x[j];
        ASSERT_PETSC(k.Eval(1, &z, 3, v, i != j));
        for (int m = 0; m < 4; m++) EXPECT_NEAR(K[m][i + j * n], v[m], 1e-12 * (1 + std::fabs(v[m])));
        if (j >= 2 && j < 5) { EXPECT_NEAR(R[0][i + (j - 2) * n], v[0] - (i == j ? 0.25 : 0.0), 1e-12) << "no white noise between two sets of points"; }
      }
    /* gradient of sum_m <G_m, K_m> against central differences */
    std::mt19937_64                  gen(7);
    std::normal_distribution<double> nd;
    std::vector<double>              G[3], g(k.NumParams(), 0.0);
    for (auto &a : G) {
      a.resize(n * n);
      for (double &b : a) b = nd(gen);
    }
    const double *Gp[3] = {G[0].data(), nullptr, G[2].data()};
    ASSERT_PETSC(skean::gp::KernelMatrixGrad(k, n, x.data(), 2, Gp, g.data()));
    auto F = [&](const Kernel1D &l) {
      EXPECT_EQ(skean::gp::KernelMatrix(l, n, x.data(), 0, nullptr, 2, Kp), PETSC_SUCCESS);
      double s = 0;
      for (size_t i = 0; i < n * n; i++) s += G[0][i] * K[0][i] + G[2][i] * K[2][i];
      return s;
    };
    for (size_t p = 0; p < k.NumParams(); p++) {
      Kernel1D            l = k;
      std::vector<double> t = k.Params();
      const double        h = 1e-5;
      t[p] += h;
      l.SetParams(t.data());
      const double up = F(l);
      t[p] -= 2 * h;
      l.SetParams(t.data());
      EXPECT_NEAR(g[p], (up - F(l)) / (2 * h), 1e-6 * (1 + std::fabs(g[p]))) << k.ParamName(p);
    }
  }
}

static PetscErrorCode Triweight(PetscInt n, const PetscReal z[], PetscInt order, PetscInt np, const PetscReal theta[], PetscReal k[], PetscReal g[], void *ctx)
{
  /* exp(-theta^2 z^2), derivatives to order 1 */
  (void)np;
  ++*static_cast<int *>(ctx);
  for (PetscInt i = 0; i < n; i++) {
    const double t2 = theta[0] * theta[0], e = std::exp(-t2 * z[i] * z[i]);
    k[i] = e;
    if (order > 0) k[n + i] = -2 * t2 * z[i] * e;
    if (g) {
      g[i] = -2 * theta[0] * z[i] * z[i] * e;
      if (order > 0) g[n + i] = -4 * theta[0] * z[i] * e * (1 - t2 * z[i] * z[i]);
    }
  }
  return PETSC_SUCCESS;
}

TEST(Kernels, Registered)
{
  int             calls = 0;
  const PetscReal init  = 1.5;
  ASSERT_PETSC(SkeanGPKernelRegister("mygauss", Triweight, 1, &init, 1, &calls));
  const Kernel1D k = Parse("mygauss*se(2)"), l = Parse("mygauss(0.5)");
  EXPECT_NEAR(Eval(k, 0.4, 1)[0], std::exp(-2.25 * 0.16 - 0.16 / 8), 1e-15);
  EXPECT_NEAR(Eval(l, 0.4, 1)[1], -0.2 * std::exp(-0.04), 1e-15);
  EXPECT_GT(calls, 0);
  double z = 0.1, v[5];
  EXPECT_EQ(skeantest::ErrorOf([&] { return k.Eval(1, &z, 2, v); }), PETSC_ERR_ARG_OUTOFRANGE) << "only one derivative is registered";
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPKernelRegister("se", Triweight, 1, &init, 1, NULL); }), PETSC_ERR_ARG_WRONG);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPKernelRegister("a+b", Triweight, 1, &init, 1, NULL); }), PETSC_ERR_ARG_WRONG);
}

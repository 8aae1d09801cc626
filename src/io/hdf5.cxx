/* HDF5: datasets by shares of the slowest dimension, sparse groups (data, indices, indptr), attributes */
#include "ioimpl.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#if defined(SKEAN_HAVE_HDF5)
  #include <hdf5.h>
#endif

namespace skean {
namespace io {

#if defined(SKEAN_HAVE_HDF5)

namespace {
/* A handle of HDF5 that closes itself; HDF5's own error printing is off while one of these lives */
struct Handle {
  hid_t id = -1;
  herr_t (*close)(hid_t);
  Handle(hid_t i, herr_t (*c)(hid_t)) : id(i), close(c) {}
  Handle(const Handle &)            = delete;
  Handle &operator=(const Handle &) = delete;
  ~Handle()
  {
    if (id >= 0) close(id);
  }
  explicit operator bool() const { return id >= 0; }
           operator hid_t() const { return id; }
};
struct Quiet {
  H5E_auto2_t f;
  void       *data;
  Quiet()
  {
    H5Eget_auto2(H5E_DEFAULT, &f, &data);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Quiet() { H5Eset_auto2(H5E_DEFAULT, f, data); }
};

bool AttString(hid_t obj, const char *name, std::string *s)
{
  if (H5Aexists(obj, name) <= 0) return false;
  Handle a(H5Aopen(obj, name, H5P_DEFAULT), H5Aclose);
  if (!a) return false;
  Handle t(H5Aget_type(a), H5Tclose), sp(H5Aget_space(a), H5Sclose);
  if (H5Tget_class(t) != H5T_STRING || H5Sget_simple_extent_npoints(sp) != 1) return false;
  if (H5Tis_variable_str(t) > 0) {
    char  *p = nullptr;
    Handle mem(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(mem, H5T_VARIABLE);
    H5Tset_cset(mem, H5Tget_cset(t));
    if (H5Aread(a, mem, &p) < 0 || !p) return false;
    *s = p;
    H5free_memory(p);
    return true;
  }
  const std::size_t n = H5Tget_size(t);
  if (!n || n > (1u << 24)) return false;
  s->assign(n, '\0');
  if (H5Aread(a, t, &(*s)[0]) < 0) return false;
  s->resize(std::strlen(s->c_str()));
  return true;
}
bool AttNumbers(hid_t obj, const char *name, std::vector<double> *v)
{
  if (H5Aexists(obj, name) <= 0) return false;
  Handle a(H5Aopen(obj, name, H5P_DEFAULT), H5Aclose);
  if (!a) return false;
  Handle         t(H5Aget_type(a), H5Tclose), sp(H5Aget_space(a), H5Sclose);
  const hssize_t n = H5Sget_simple_extent_npoints(sp);
  const auto     c = H5Tget_class(t);
  if ((c != H5T_INTEGER && c != H5T_FLOAT) || n < 1 || n > 1024) return false;
  v->resize(static_cast<std::size_t>(n));
  return H5Aread(a, H5T_NATIVE_DOUBLE, v->data()) >= 0;
}

/* Numeric datasets and sparse groups of a file */
struct Found {
  std::vector<std::string> names;
};
bool IsSparseGroup(hid_t g)
{
  return H5Lexists(g, "data", H5P_DEFAULT) > 0 && H5Lexists(g, "indices", H5P_DEFAULT) > 0 && H5Lexists(g, "indptr", H5P_DEFAULT) > 0;
}
bool Numeric(hid_t d)
{
  Handle     t(H5Dget_type(d), H5Tclose);
  const auto c = H5Tget_class(t);
  return c == H5T_INTEGER || c == H5T_FLOAT || c == H5T_ENUM;
}
extern "C" herr_t SkeanHdf5Visit(hid_t file, const char *name, const H5O_info_t *info, void *ctx)
{
  auto *found = static_cast<Found *>(ctx);
  try {
    if (found->names.size() > 1000) return 1;
    if (info->type == H5O_TYPE_DATASET) {
      Handle d(H5Dopen2(file, name, H5P_DEFAULT), H5Dclose);
      if (d && Numeric(d)) found->names.emplace_back(name);
    } else if (info->type == H5O_TYPE_GROUP && std::strcmp(name, ".")) {
      Handle g(H5Gopen2(file, name, H5P_DEFAULT), H5Gclose);
      if (g && IsSparseGroup(g)) found->names.emplace_back(name);
    }
  } catch (...) {
    return -1;
  }
  return 0;
}

/* One after the other in a path, since H5Lexists() fails where a group on the way is missing */
bool PathExists(hid_t file, const std::string &path)
{
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    if (H5Lexists(file, path.substr(0, at).c_str(), H5P_DEFAULT) <= 0) return false;
  return path == "/" || H5Lexists(file, path.c_str(), H5P_DEFAULT) > 0;
}

bool DatasetDims(hid_t d, std::vector<std::int64_t> &dims)
{
  Handle    sp(H5Dget_space(d), H5Sclose);
  const int nd = sp ? H5Sget_simple_extent_ndims(sp) : -1;
  if (nd < 0 || nd > 32) return false;
  hsize_t n[32];
  H5Sget_simple_extent_dims(sp, n, nullptr);
  dims.assign(n, n + nd);
  if (!nd) dims.push_back(1);
  return true;
}

std::string TypeName(hid_t d)
{
  Handle            t(H5Dget_type(d), H5Tclose);
  const auto        c = H5Tget_class(t);
  const std::size_t s = H5Tget_size(t);
  if (c == H5T_FLOAT) return "float" + std::to_string(8 * s);
  if (c == H5T_ENUM) return "bool";
  return (H5Tget_sign(t) == H5T_SGN_NONE ? "uint" : "int") + std::to_string(8 * s);
}

/* On one process */
bool Inspect(const Opened &o, Hdf5Info &info, Error &err)
{
  Quiet  quiet;
  Handle f(H5Fopen(o.path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!f) return err.Set(Why::Malformed, "HDF5 cannot open it: damaged or truncated");
  Found found;
  if (H5Ovisit(f, H5_INDEX_NAME, H5_ITER_NATIVE, SkeanHdf5Visit, &found) < 0) return err.Set(Why::Malformed, "HDF5 cannot list its contents: damaged");
  /* the parts of a sparse group, and coordinates, are no choice of their own */
  std::vector<std::string> choice;
  std::string              list;
  for (const auto &n : found.names) {
    const std::size_t slash = n.rfind('/');
    const std::string dir   = slash == std::string::npos ? "" : n.substr(0, slash);
    if (!dir.empty() && std::find(found.names.begin(), found.names.end(), dir) != found.names.end()) continue;
    if (dir == "coordinates" || (dir.size() > 12 && dir.compare(dir.size() - 12, 12, "/coordinates") == 0)) continue;
    choice.push_back(n);
    list += (list.empty() ? "" : ", ") + n;
  }
  if (list.size() > 600) list = list.substr(0, 600) + "...";
  if (list.empty()) list = "none";
  if (o.variable.empty()) {
    if (choice.size() != 1) return err.Set(Why::Malformed, "say which dataset is meant, as in file:dataset; there are: " + list);
    info.path = choice[0];
  } else {
    info.path = o.variable;
    if (!PathExists(f, info.path)) return err.Set(Why::Malformed, "there is no dataset '" + info.path + "'; there are: " + list);
  }
  Handle obj(H5Oopen(f, info.path.c_str(), H5P_DEFAULT), H5Oclose);
  if (!obj) return err.Set(Why::Malformed, "HDF5 cannot open '" + info.path + "'");
  if (H5Iget_type(obj) == H5I_GROUP) {
    if (!IsSparseGroup(obj)) return err.Set(Why::Malformed, "'" + info.path + "' is a group, not a dataset; there are: " + list);
    std::vector<double> shape;
    std::string         enc;
    if (!AttNumbers(obj, "shape", &shape) && !AttNumbers(obj, "h5sparse_shape", &shape))
      return err.Set(Why::Malformed, "the sparse group '" + info.path + "' has no attribute 'shape'");
    if (AttString(obj, "encoding-type", &enc) || AttString(obj, "h5sparse_format", &enc)) info.csc = enc.rfind("csc", 0) == 0;
    if (shape.size() != 2) return err.Set(Why::Malformed, "the attribute 'shape' of '" + info.path + "' has not two numbers");
    info.sparse = true;
    for (const double s : shape) {
      if (!(s >= 0 && s < 4e18)) return err.Set(Why::Malformed, "the attribute 'shape' of '" + info.path + "' is out of range");
      info.dims.push_back(static_cast<std::int64_t>(s));
    }
    const char *const         parts[] = {"data", "indices", "indptr"};
    std::vector<std::int64_t> n[3];
    for (int k = 0; k < 3; ++k) {
      Handle d(H5Dopen2(obj, parts[k], H5P_DEFAULT), H5Dclose);
      if (!d || !Numeric(d) || !DatasetDims(d, n[k]) || n[k].size() != 1)
        return err.Set(Why::Malformed, "'" + info.path + "/" + parts[k] + "' is not a list of numbers");
      if (k == 0) info.type = TypeName(d);
    }
    if (n[0][0] != n[1][0])
      return err.Set(Why::Malformed, "'" + info.path + "' has " + std::to_string(n[0][0]) + " values, but " + std::to_string(n[1][0]) + " indices");
    if (n[2][0] != info.dims[info.csc ? 1 : 0] + 1)
      return err.Set(Why::Malformed, "'" + info.path + "/indptr' has " + std::to_string(n[2][0]) + " numbers, the shape wants " +
                                       std::to_string(info.dims[info.csc ? 1 : 0] + 1));
    info.nnz = n[0][0];
    return true;
  }
  if (H5Iget_type(obj) != H5I_DATASET || !Numeric(obj)) return err.Set(Why::Unsupported, "'" + info.path + "' does not hold real numbers");
  if (!DatasetDims(obj, info.dims)) return err.Set(Why::Malformed, "the dimensions of '" + info.path + "' cannot be read");
  std::int64_t total = 8;
  for (const std::int64_t d : info.dims)
    if (!MulFits(total, std::max<std::int64_t>(1, d), &total) || total > (std::int64_t(1) << 60))
      return err.Set(Why::TooLarge, "the dimensions of '" + info.path + "' need more than 2^60 bytes");
  /* stored without compression, the data must be in the file; chunks that were never written are fill values and take no room, but
     gigabytes of them are refused */
  const std::int64_t stored = static_cast<std::int64_t>(H5Dget_storage_size(obj));
  if (stored > o.filesize)
    return err.Set(Why::Malformed, "'" + info.path + "' declares " + std::to_string(stored) + " stored bytes, the file has " + std::to_string(o.filesize));
  if (total > (std::int64_t(1) << 30) && total / 8192 > stored)
    return err.Set(Why::TooLarge,
                   "'" + info.path + "' of " + std::to_string(total / 8) + " values is stored in " + std::to_string(stored) + " bytes, which is not plausible");
  info.type = TypeName(obj);
  AttString(obj, "units", &info.units);
  AttString(obj, "dimensions", &info.dimnames);
  std::vector<double> fill;
  if (AttNumbers(obj, "_FillValue", &fill) || AttNumbers(obj, "missing_value", &fill)) {
    info.fill    = fill[0];
    info.hasfill = true;
  }
  return true;
}

/* Packs strings and numbers for one broadcast */
void Pack(std::string &s, const std::string &x)
{
  const std::uint64_t n = x.size();
  s.append(reinterpret_cast<const char *>(&n), 8);
  s += x;
}
std::string Unpack(const std::string &s, std::size_t *at)
{
  std::uint64_t n;
  std::memcpy(&n, s.data() + *at, 8);
  *at += 8 + n;
  return s.substr(*at - n, n);
}
PetscErrorCode Share(MPI_Comm comm, std::string &s)
{
  int n = static_cast<int>(s.size());

  PetscFunctionBegin;
  PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, 0, comm));
  s.resize(static_cast<std::size_t>(n));
  PetscCallMPI(MPI_Bcast(&s[0], n, MPI_CHAR, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct ParallelFile {
  Handle fapl, file;
  explicit ParallelFile(const Opened &o) : fapl(H5Pcreate(H5P_FILE_ACCESS), H5Pclose), file(-1, H5Fclose)
  {
  #if defined(H5_HAVE_PARALLEL)
    H5Pset_fapl_mpio(fapl, o.comm, MPI_INFO_NULL);
    H5Pset_all_coll_metadata_ops(fapl, true);
  #endif
    H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG); /* what a damaged file left open goes with it */
    file.id = H5Fopen(o.path.c_str(), H5F_ACC_RDONLY, fapl);
  }
};
} // namespace

PetscErrorCode Hdf5Inspect(Opened &o, Hdf5Info &info)
{
  PetscMPIInt rank;
  Error       err;
  std::string s;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  if (!rank) Inspect(o, info, err);
  PetscCall(Agree(o.comm, o.path, err));
  Pack(s, info.path);
  Pack(s, info.type);
  Pack(s, info.units);
  Pack(s, info.dimnames);
  std::int64_t meta[36] = {info.sparse, info.csc, info.nnz, static_cast<std::int64_t>(info.dims.size())};
  std::copy(info.dims.begin(), info.dims.end(), meta + 4);
  double fill[2] = {info.fill, info.hasfill ? 1.0 : 0.0};
  PetscCall(Share(o.comm, s));
  PetscCallMPI(MPI_Bcast(meta, 36, MPI_INT64_T, 0, o.comm));
  PetscCallMPI(MPI_Bcast(fill, 2, MPI_DOUBLE, 0, o.comm));
  std::size_t at = 0;
  info.path      = Unpack(s, &at);
  info.type      = Unpack(s, &at);
  info.units     = Unpack(s, &at);
  info.dimnames  = Unpack(s, &at);
  info.sparse    = meta[0] != 0;
  info.csc       = meta[1] != 0;
  info.nnz       = meta[2];
  info.dims.assign(meta + 4, meta + 4 + meta[3]);
  info.fill    = fill[0];
  info.hasfill = fill[1] != 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Hdf5Read(Opened &o, const std::string &path, const Target &t)
{
  Quiet        quiet;
  Error        err;
  std::int64_t rest = 1;

  PetscFunctionBegin;
  ParallelFile pf(o);
  if (!pf.file) err.Set(Why::Malformed, "HDF5 cannot open it in parallel");
  PetscCall(Agree(o.comm, o.path, err));
  Handle d(H5Dopen2(pf.file, path.c_str(), H5P_DEFAULT), H5Dclose);
  if (!d) err.Set(Why::Malformed, "HDF5 cannot open '" + path + "'");
  PetscCall(Agree(o.comm, o.path, err));
  Handle                    space(H5Dget_space(d), H5Sclose), xfer(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  std::vector<std::int64_t> fd;
  DatasetDims(d, fd);
  const int rank = H5Sget_simple_extent_ndims(space);
  for (std::size_t k = 1; k < fd.size(); ++k) rest *= fd[k];
  /* a vector stored as 1 x n: its rows run along the dimension that is not 1 */
  int axis = 0;
  if (t.rest == 1 && rest != 1) {
    while (axis + 1 < rank && fd[static_cast<std::size_t>(axis)] == 1) ++axis;
    rest = 1;
  }
  const std::int64_t nrows  = std::max<std::int64_t>(1, (1 << 20) / std::max<std::int64_t>(1, rest));
  std::int64_t       rounds = !t.nrows || !rest ? 0 : (t.nrows + nrows - 1) / nrows, most;
  PetscCallMPI(MPI_Allreduce(&rounds, &most, 1, MPI_INT64_T, MPI_MAX, o.comm));
  #if defined(H5_HAVE_PARALLEL)
  H5Pset_dxpl_mpio(xfer, H5FD_MPIO_COLLECTIVE);
  #endif
  std::vector<double> buf;
  for (std::int64_t k = 0; k < most; ++k) {
    const std::int64_t from = std::min<std::int64_t>(t.nrows, k * nrows), n = std::min<std::int64_t>(nrows, t.nrows - from);
    hsize_t            start[32] = {0}, count[32] = {1};
    const std::int64_t total = n * rest;
    if (rank > 0) {
      for (int q = 0; q < rank; ++q) count[q] = static_cast<hsize_t>(fd[static_cast<std::size_t>(q)]);
      start[axis] = static_cast<hsize_t>(t.rstart + from);
      count[axis] = static_cast<hsize_t>(n);
    }
    buf.resize(static_cast<std::size_t>(std::max<std::int64_t>(1, total)));
    const hsize_t len = static_cast<hsize_t>(std::max<std::int64_t>(1, total));
    Handle        mem(H5Screate_simple(1, &len, nullptr), H5Sclose);
    if (n > 0 && total > 0) {
      if (rank > 0) H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr);
    } else {
      H5Sselect_none(space);
      H5Sselect_none(mem);
    }
    if (H5Dread(d, H5T_NATIVE_DOUBLE, mem, space, xfer, buf.data()) < 0)
      err.Set(Why::Malformed, "the data of '" + path + "' cannot be read: damaged or truncated", -1, -1);
    PetscCall(Agree(o.comm, o.path, err));
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t r = 0; r < rest; ++r) t.a[(from + i) * t.rs + r * t.cs] = buf[static_cast<std::size_t>(i * rest + r)];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Hdf5ReadSmall(Opened &o, const std::string &path, std::int64_t n, std::vector<double> &v, bool *found, std::string *units)
{
  PetscMPIInt rank;
  int         ok = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  v.resize(static_cast<std::size_t>(n));
  if (!rank) {
    Quiet  quiet;
    Handle f(H5Fopen(o.path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    if (f && PathExists(f, path)) {
      Handle                    d(H5Dopen2(f, path.c_str(), H5P_DEFAULT), H5Dclose);
      std::vector<std::int64_t> dims;
      if (d && Numeric(d) && DatasetDims(d, dims) && dims.size() == 1 && dims[0] == n)
        ok = H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, v.data()) >= 0;
      if (ok) AttString(d, "units", units);
    }
  }
  PetscCallMPI(MPI_Bcast(&ok, 1, MPI_INT, 0, o.comm));
  *found = ok != 0;
  if (ok) {
    PetscCallMPI(MPI_Bcast(v.data(), static_cast<int>(n), MPI_DOUBLE, 0, o.comm));
    PetscCall(Share(o.comm, *units));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Hdf5ReadSparse(Opened &o, const Hdf5Info &info, Coo &coo)
{
  PetscMPIInt         rank, size;
  std::vector<double> ptr, idx;
  Target              t;
  Error               err;
  const std::int64_t  major = info.dims[info.csc ? 1 : 0], minor = info.dims[info.csc ? 0 : 1];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  PetscCallMPI(MPI_Comm_size(o.comm, &size));
  const std::int64_t r0 = major / size * rank + std::min<std::int64_t>(rank, major % size), nr = major / size + (rank < major % size);
  t.rest = t.rs = t.cs = 1;
  t.rstart             = r0;
  t.nrows              = nr + 1; /* one more: the end of the last row */
  ptr.resize(static_cast<std::size_t>(nr) + 1);
  t.a = ptr.data();
  PetscCall(Hdf5Read(o, info.path + "/indptr", t));
  if (r0 == 0 && ptr[0] != 0) err.Set(Why::Malformed, "'" + info.path + "/indptr' does not begin with 0");
  if (r0 + nr == major && ptr.back() != static_cast<double>(info.nnz))
    err.Set(Why::Malformed, "'" + info.path + "/indptr' does not end with the number of values");
  for (std::size_t k = 0; k + 1 < ptr.size(); ++k)
    if (!(ptr[k] >= 0 && ptr[k + 1] >= ptr[k] && ptr[k + 1] <= static_cast<double>(info.nnz)))
      err.Set(Why::Malformed, "'" + info.path + "/indptr' is not a rising list at " + std::to_string(r0 + static_cast<std::int64_t>(k)));
  PetscCall(Agree(o.comm, o.path, err));
  t.rstart = static_cast<std::int64_t>(ptr[0]);
  t.nrows  = static_cast<std::int64_t>(ptr.back()) - t.rstart;
  idx.resize(static_cast<std::size_t>(t.nrows));
  coo.v.resize(static_cast<std::size_t>(t.nrows));
  t.a = idx.data();
  PetscCall(Hdf5Read(o, info.path + "/indices", t));
  t.a = coo.v.data();
  PetscCall(Hdf5Read(o, info.path + "/data", t));
  for (std::size_t k = 0; k < idx.size(); ++k) {
    if (!(idx[k] >= 0 && idx[k] < static_cast<double>(minor)))
      err.Set(Why::Malformed,
              "'" + info.path + "/indices': " + std::to_string(static_cast<long long>(idx[k])) + " is outside 0..." + std::to_string(minor - 1));
    else if (!std::isfinite(coo.v[k]))
      err.Set(Why::Malformed, "'" + info.path + "/data': value " + std::to_string(t.rstart + static_cast<std::int64_t>(k)) + " is not finite");
  }
  PetscCall(Agree(o.comm, o.path, err));
  auto &maj = info.csc ? coo.j : coo.i, &min = info.csc ? coo.i : coo.j;
  for (std::size_t k = 0; k + 1 < ptr.size(); ++k) maj.insert(maj.end(), static_cast<std::size_t>(ptr[k + 1] - ptr[k]), r0 + static_cast<std::int64_t>(k));
  for (const double x : idx) min.push_back(static_cast<std::int64_t>(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A string, or a number as its text */
static bool AttText(hid_t obj, const char *name, std::string *s)
{
  char text[64];

  if (H5Aexists(obj, name) <= 0) return false;
  Handle a(H5Aopen(obj, name, H5P_DEFAULT), H5Aclose);
  if (!a) return false;
  Handle     t(H5Aget_type(a), H5Tclose), sp(H5Aget_space(a), H5Sclose);
  const auto c = H5Tget_class(t);
  if ((c != H5T_INTEGER && c != H5T_FLOAT) || H5Sget_simple_extent_npoints(sp) != 1) return AttString(obj, name, s);
  std::int64_t i = 0;
  double       x = 0;
  if ((c == H5T_INTEGER ? H5Aread(a, H5T_NATIVE_INT64, &i) : H5Aread(a, H5T_NATIVE_DOUBLE, &x)) < 0) return false;
  if (c == H5T_INTEGER)
    std::snprintf(text, sizeof(text), "%lld", static_cast<long long>(i));
  else
    std::snprintf(text, sizeof(text), "%.17g", x);
  *s = text;
  return true;
}

PetscErrorCode Hdf5GetAttribute(Opened &o, const std::string &key, std::string *value, bool *found)
{
  PetscMPIInt rank;
  int         ok = 0;
  Error       err;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  if (!rank && o.variable.empty()) {
    /* the only dataset, if there is but one */
    Hdf5Info info;
    Error    several;
    if (Inspect(o, info, several)) o.variable = info.path;
  }
  if (!rank) {
    Quiet  quiet;
    Handle f(H5Fopen(o.path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    if (!f)
      err.Set(Why::Malformed, "HDF5 cannot open it: damaged or truncated");
    else {
      if (!o.variable.empty() && PathExists(f, o.variable)) {
        Handle obj(H5Oopen(f, o.variable.c_str(), H5P_DEFAULT), H5Oclose);
        ok = obj && AttText(obj, key.c_str(), value);
      }
      if (!ok) ok = AttText(f, key.c_str(), value);
    }
  }
  PetscCall(Agree(o.comm, o.path, err));
  PetscCallMPI(MPI_Bcast(&ok, 1, MPI_INT, 0, o.comm));
  *found = ok != 0;
  if (ok) PetscCall(Share(o.comm, *value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#else

static PetscErrorCode Missing(const Opened &o)
{
  PetscFunctionBegin;
  SETERRQ(o.comm, PETSC_ERR_SUP, "%s: Skean was built without HDF5", o.path.c_str());
}
PetscErrorCode Hdf5Inspect(Opened &o, Hdf5Info &)
{
  return Missing(o);
}
PetscErrorCode Hdf5Read(Opened &o, const std::string &, const Target &)
{
  return Missing(o);
}
PetscErrorCode Hdf5ReadSmall(Opened &o, const std::string &, std::int64_t, std::vector<double> &, bool *, std::string *)
{
  return Missing(o);
}
PetscErrorCode Hdf5ReadSparse(Opened &o, const Hdf5Info &, Coo &)
{
  return Missing(o);
}
PetscErrorCode Hdf5GetAttribute(Opened &o, const std::string &, std::string *, bool *)
{
  return Missing(o);
}
#endif

} // namespace io
} // namespace skean

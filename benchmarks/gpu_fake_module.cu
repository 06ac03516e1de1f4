// A compiled module with faults, for benchmarks/gpu_rehearsal.py: the true one (SAC_FAST_TRUE_MODULE), with the ops
// that SAC_FAST_FAULT changes: "wrong": one answers falsely and one takes the process along; "hang": one never answers.
// nvcc -shared -Xcompiler -fPIC -I $(python's headers); -DUNLOADABLE: a symbol that nobody has.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#ifdef UNLOADABLE
extern "C" int sac_fast_symbol_of_no_library();
#endif

__global__ void never_launched() {}

namespace {

PyObject* true_pair = nullptr;

bool fault_is(const char* name) {
  const char* fault = std::getenv("SAC_FAST_FAULT");
  return fault != nullptr && std::strcmp(fault, name) == 0;
}

// Distances that are 0.01 too large; NaN for rbf.
PyObject* wrong(PyObject*, PyObject* arguments) {
  PyObject* found = PyObject_CallObject(true_pair, arguments);
  if (found == nullptr) return nullptr;
  const char* metric = PyUnicode_AsUTF8(PyTuple_GetItem(arguments, 2));
  const bool rbf = metric != nullptr && std::strcmp(metric, "rbf") == 0;
  const double distance = rbf ? std::nan("") : PyFloat_AsDouble(found) + 0.01;
  Py_DECREF(found);
  return PyFloat_FromDouble(distance);
}

// As a kernel that never ends: no signal of Python's is looked at.
PyObject* hang(PyObject*, PyObject*) {
  for (;;) pause();
}

PyObject* crash(PyObject*, PyObject*) { std::abort(); }

PyMethodDef wrong_methods[] = {{"correlation_distance_cpu", wrong, METH_VARARGS, nullptr},
                               {"correlation_distances_cpu", crash, METH_VARARGS, nullptr},
                               {}};
PyMethodDef hang_methods[] = {{"correlation_distances_cpu", hang, METH_VARARGS, nullptr}, {}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr};

const char* kLoadTrueModule = R"(
import importlib.machinery, importlib.util, os
loader = importlib.machinery.ExtensionFileLoader("sac_fast._C", os.environ["SAC_FAST_TRUE_MODULE"])
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("sac_fast._C", loader))
loader.exec_module(module)
)";

}  // namespace

PyMODINIT_FUNC PyInit__C() {
#ifdef UNLOADABLE
  sac_fast_symbol_of_no_library();
#endif
  PyObject* names = PyDict_New();
  PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
  if (PyRun_String(kLoadTrueModule, Py_file_input, names, names) == nullptr) return nullptr;
  PyObject* names_of_true = PyModule_GetDict(PyDict_GetItemString(names, "module"));
  PyObject* module = PyModule_Create(&definition);
  if (module == nullptr || PyDict_Update(PyModule_GetDict(module), names_of_true) != 0) return nullptr;
  true_pair = PyObject_GetAttrString(module, "correlation_distance_cpu");
  if (true_pair == nullptr) return nullptr;
  if (fault_is("wrong") && PyModule_AddFunctions(module, wrong_methods) != 0) return nullptr;
  if (fault_is("hang") && PyModule_AddFunctions(module, hang_methods) != 0) return nullptr;
  return module;
}

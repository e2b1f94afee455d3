#include "module.h"

static PyModuleDef module_def;

/* Subclasses of Python's have no module of their own: the nearest base that is ours has. */
struct module_state *module_state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &module_def);

    return module == NULL ? NULL : PyModule_GetState(module);
}

PyObject *module_raise_as(PyTypeObject *type, const char *name, const char *text)
{
    struct module_state *state = module_state_of(type);
    PyObject *class = state == NULL ? NULL : PyObject_GetAttrString(state->errors, name);

    if (class != NULL)
        PyErr_SetString(class, text);
    Py_XDECREF(class);
    return NULL;
}

static const char *class_of(enum cachetastic_status status)
{
    switch (status) {
    case CACHETASTIC_E_INVALID:
        return "InvalidError";
    case CACHETASTIC_E_DOWN:
        return "DownError";
    case CACHETASTIC_E_TIMEOUT:
        return "CacheTimeoutError";
    case CACHETASTIC_E_LOST:
        return "LostError";
    case CACHETASTIC_E_PROTOCOL:
        return "ProtocolError";
    case CACHETASTIC_E_DENIED:
        return "DeniedError";
    case CACHETASTIC_E_REMOTE:
        return "RefusedError";
    case CACHETASTIC_BUSY:
        return "BusyError";
    default:
        return "CacheError";
    }
}

PyObject *module_raise(PyTypeObject *type, const cachetastic *handle,
                       enum cachetastic_status status)
{
    const char *text = status < 0 ? cachetastic_error(handle) : "";

    if (status == CACHETASTIC_E_NOMEM)
        return PyErr_NoMemory();
    return module_raise_as(type, class_of(status),
                           text[0] == '\0' ? cachetastic_status_text(status) : text);
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);

    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static int module_exec(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);

    state->errors = PyImport_ImportModule("cachetastic.errors");
    if (state->errors == NULL || (state->client_type = add_type(module, &client_spec)) == NULL ||
        (state->lease_type = add_type(module, &lease_spec)) == NULL)
        return -1;
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);

    Py_VISIT(state->client_type);
    Py_VISIT(state->lease_type);
    Py_VISIT(state->errors);
    return 0;
}

static int module_clear(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);

    Py_CLEAR(state->client_type);
    Py_CLEAR(state->lease_type);
    Py_CLEAR(state->errors);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cachetastic._cachetastic",
    .m_doc = "libcachetastic as Python objects; use the package cachetastic.",
    .m_size = sizeof(struct module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__cachetastic(void)
{
    return PyModuleDef_Init(&module_def);
}

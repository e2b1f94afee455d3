/* What the files of cachetastic._cachetastic share.
 *
 * module.c  the module, its state, errors     decode.c  bytes to objects
 * client.c  the type Client: the operations   lease.c   the type Lease: a value to be computed
 *
 * The interpreter's lock is released around every call of the library that may wait, and kept
 * around direct reads, which take less time than releasing it would.
 */
#ifndef CACHETASTIC_PYTHON_MODULE_H
#define CACHETASTIC_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cachetastic.h>
#include <stdbool.h>

#define IDLE_MAX 8 /* handles that are kept for the next call; more threads at once open more */

struct module_state {
    PyTypeObject *client_type, *lease_type;
    PyObject *errors; /* cachetastic.errors */
};

/* How values become objects. */
enum decoder {
    DECODER_RAW,  /* they stay bytes */
    DECODER_JSON, /* loads takes a str; plain strings and integers do without it */
    DECODER_CALL, /* loads takes bytes */
};

/* A cache. A handle of the library serves one call at a time: a call takes an idle one, or opens
 * another, and gives it back. Taking and giving happen under the interpreter's lock. */
struct client {
    PyObject_HEAD
    cachetastic *idle[IDLE_MAX];
    int n_idle;
    bool open; /* __init__ was run */
    enum decoder decoder;
    PyObject *loads;
    PyObject *socket, *cache, *user, *password; /* bytes or None */
    unsigned timeout_ms;
    bool no_direct;
};

/* module.c */
struct module_state *module_state_of(PyTypeObject *type);
/* Raise what a failure stands for. Returns NULL. */
PyObject *module_raise(PyTypeObject *type, const cachetastic *handle,
                       enum cachetastic_status status);
/* Raise an error of cachetastic.errors by its class' name. Returns NULL. */
PyObject *module_raise_as(PyTypeObject *type, const char *name, const char *text);

/* client.c */
extern PyType_Spec client_spec;
/* A handle for one call. NULL: raised. */
cachetastic *client_take(struct client *self);
void client_give(struct client *self, cachetastic *handle);
/* The bytes of a str (UTF-8) or bytes object, valid as long as it. false: raised. */
bool client_text(PyObject *object, struct cachetastic_bytes *out);

/* Several str or bytes objects: out of an iterable into memory of our own, which other threads
 * cannot change while the interpreter's lock is released. */
struct texts {
    PyObject *objects; /* a tuple */
    struct cachetastic_bytes *bytes;
    size_t n;
};
bool texts_init(struct texts *texts, PyObject *iterable);
void texts_fini(struct texts *texts);

/* lease.c */
extern PyType_Spec lease_spec;
/* Takes the handle over: nobody else uses it until the lease ends. NULL: raised, and given back. */
PyObject *lease_create(struct client *client, cachetastic *handle, PyObject *key, uint64_t token);

/* decode.c. A new object; NULL: raised. */
PyObject *decode(struct client *client, struct cachetastic_bytes value);

#endif

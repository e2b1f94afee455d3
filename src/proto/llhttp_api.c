/* llhttp's api.c from a folder outside this tree (configure: --with-llhttp-source). */
#include <api.c>

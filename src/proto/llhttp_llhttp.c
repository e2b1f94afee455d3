/* llhttp's llhttp.c from a folder outside this tree (configure: --with-llhttp-source). */
#include <llhttp.c>

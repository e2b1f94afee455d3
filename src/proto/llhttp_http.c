/* llhttp's http.c from a folder outside this tree (configure: --with-llhttp-source). */
#include <http.c>

/* Prints what the schema table says, for check-docs: the sample file or the manual's list of keys.
 */
#include "common/config.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "sample") == 0)
        return config_print_sample(stdout) == ERR_OK ? 0 : 1;
    if (argc == 2 && strcmp(argv[1], "manual") == 0)
        return config_print_manual(stdout) == ERR_OK ? 0 : 1;
    fprintf(stderr, "usage: print_schema sample|manual\n");
    return 2;
}

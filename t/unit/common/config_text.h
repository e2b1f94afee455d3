/* Loads configurations that a test writes as text. */
#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

#include "common/config.h"

/* A new file with this text in the temporary folder; its path, valid until config_text_end(). */
const char *config_text_file(const char *text);
/* Load text as a file, beside what flags say (NULL: nothing; its member file is not used). On an
 * error the path in msg is replaced by FILE. */
int config_text_load(const char *text, const struct config_flags *flags, struct config **out,
                     struct errmsg *msg);
/* The dump of a configuration; to be freed. */
char *config_text_dump(const struct config *config);
/* Remove the files. A checked fixture: the tests are forked. */
void config_text_end(void);

#endif

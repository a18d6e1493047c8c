/* replay_main.c -- runs a fuzz target over files instead of under libFuzzer, so
 * that every build and every compiler replays what fuzzing once found.
 * Arguments: files, or folders whose files are run in the order of their names.
 * The program ends with 1 if there was nothing to run.
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *what)
{
    fprintf(stderr, "replay: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The copy is exactly as long as the file: a sanitizer then sees each byte
 * that is read past the end. */
static void run_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? size : 1);

    if (file == NULL || data == NULL)
        die(path);
    if (fread(data, 1, size, file) != size)
        die(path);
    fclose(file);
    /* Read after a crash, to know the file. */
    fprintf(stderr, "replay: %s (%zu bytes)\n", path, size);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
}

static unsigned run(const char *path)
{
    struct dirent **entries;
    struct stat st;
    unsigned done = 0;
    int n;

    if (stat(path, &st) == -1)
        die(path);
    if (!S_ISDIR(st.st_mode)) {
        run_file(path, (size_t)st.st_size);
        return 1;
    }
    n = scandir(path, &entries, NULL, alphasort);
    if (n == -1)
        die(path);
    for (int i = 0; i < n; i++) {
        char *inner;

        if (entries[i]->d_name[0] != '.') {
            if (asprintf(&inner, "%s/%s", path, entries[i]->d_name) == -1)
                die(path);
            done += run(inner);
            free(inner);
        }
        free(entries[i]);
    }
    free(entries);
    return done;
}

int main(int argc, char **argv)
{
    unsigned done = 0;

    for (int i = 1; i < argc; i++)
        done += run(argv[i]);
    printf("replayed %u inputs\n", done);
    return done > 0 ? 0 : 1;
}

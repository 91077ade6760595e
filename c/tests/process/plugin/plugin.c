/* plugin.c - a library for plugins.sh that contains the archive and hides it.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <hakmem.h>
#include <pthread.h>
#include <string.h>

static pthread_key_t plugin_key;

/* Runs at the exit of a thread that used the plugin, before or after hakmem's own destructor. */
static void plugin_thread_end(void *value) {
    hak_free(value);
    hak_free(memset(hak_malloc(5000), 1, 5000));
}

__attribute__((constructor)) static void plugin_load(void) {
    pthread_key_create(&plugin_key, plugin_thread_end);
}

__attribute__((destructor)) static void plugin_unload(void) {
    hak_free(hak_malloc(100));
    pthread_key_delete(plugin_key);
}

__attribute__((visibility("default"))) void plugin_work(size_t mib, size_t bytes);
void plugin_work(size_t mib, size_t bytes) {
    size_t count = (mib << 20) / bytes;
    char **list = hak_malloc(count * sizeof *list);
    for (size_t i = 0; i < count; i++)
        memset(list[i] = hak_malloc(bytes), 1, bytes);
    for (size_t i = 0; i < count; i++)
        hak_free(list[i]);
    hak_free(list);
    if (pthread_getspecific(plugin_key) == NULL)
        pthread_setspecific(plugin_key, hak_malloc(1000));
}

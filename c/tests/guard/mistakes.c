/* guard/mistakes.c - each mistake with a guarded block is found and reported.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
// flags: -rdynamic -Wno-use-after-free
#include "guard.h"

static void write_byte(char *at) { *(volatile char *)at = 1; }
static char read_byte(const char *at) { return *(const volatile char *)at; }

/* The first line of the report, for an access that `words` describe. */
static void check_report(const struct test_child *child, const char *mistake, const char *words) {
    char pattern[128];
    snprintf(pattern, sizeof pattern, "hakmem: %s: ", mistake);
    CHECK(strncmp(child->errors, pattern, strlen(pattern)) == 0);
    snprintf(pattern, sizeof pattern, ", %s the block of %d bytes at %p\n", words, SIZE,
             child->pointer);
    CHECK_CONTAINS(child->errors, pattern);
    CHECK_CONTAINS(child->errors, "\n  access by thread ");
    CHECK_CONTAINS(child->errors, "\n  allocated by thread ");
    CHECK_CONTAINS(child->errors, "\nmodule ");
    CHECK_CONTAINS(child->errors, " build-id ");
}

static void check_fault(void (*make)(void *), const char *mistake, const char *words) {
    struct test_child child = test_in_child(make, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    check_report(&child, mistake, words);
}

/* ---- Accesses -------------------------------------------------------------------------------- */

static char *told(enum place place) {
    guard_all();
    char *block = guarded_at(place, SIZE);
    test_tell(block);
    return block;
}

static void overflow(void *unused) {
    (void)unused;
    char *block = told(AT_END);
    write_byte(block + SIZE - 1);
    write_byte(block + SIZE);
}

static void underflow(void *unused) {
    (void)unused;
    char *block = told(AT_START);
    read_byte(block);
    read_byte(block - 1);
}

static void far_overflow(void *unused) {
    (void)unused;
    char *block = told(AT_END);
    write_byte(block + SIZE + 2 * page());
}

/* An address in a slot that has never held a block. Slots are used in the order of their
 * addresses. */
static char *in_unused_slot(const char *block) { return (char *)block + 100 * 65536; }

static void access_beside(void *unused) {
    (void)unused;
    write_byte(in_unused_slot(told(AT_START)));
}

static void free_beside(void *unused) {
    (void)unused;
    guard_all();
    char *pointer = in_unused_slot(site_of_malloc(SIZE));
    test_tell(pointer);
    hak_free(pointer);
}

static void read_after_free(void *unused) {
    (void)unused;
    char *block = told(AT_START);
    hak_free(block);
    read_byte(block + 4);
}

static void write_after_free(void *unused) {
    (void)unused;
    char *block = told(AT_END);
    hak_free(block);
    write_byte(block + SIZE - 1);
}

static void use_after_realloc(void *unused) {
    (void)unused;
    char *block = told(AT_START);
    CHECK(hak_realloc(block, 2 * SIZE) != block);
    write_byte(block);
}

TEST(an_overflow_by_one_byte_is_reported) {
    check_fault(overflow, "overflow", "0 bytes after the end of");
}
TEST(an_underflow_by_one_byte_is_reported) {
    check_fault(underflow, "underflow", "1 bytes before the start of");
}
TEST(an_overflow_far_beyond_the_block_is_reported) {
    struct test_child child = test_in_child(far_overflow, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    CHECK_CONTAINS(child.errors, "hakmem: overflow: ");
}
TEST(an_access_to_a_slot_that_never_held_a_block_is_reported) {
    struct test_child child = test_in_child(access_beside, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    CHECK_CONTAINS(child.errors, "hakmem: access beside guarded blocks: ");
    CHECK_CONTAINS(child.errors, "\n  access by thread ");
}
TEST(a_free_of_a_pointer_into_such_a_slot_is_reported) {
    struct test_child child = test_in_child(free_beside, NULL);
    CHECK_ABORTED(child);
    CHECK_CONTAINS(child.errors, ": not a block of this allocator, or already free\n");
}
TEST(a_read_after_free_is_reported) {
    check_fault(read_after_free, "use after free", "4 bytes into");
}
TEST(a_write_after_free_is_reported) {
    check_fault(write_after_free, "use after free", "99 bytes into");
}
TEST(a_write_to_the_old_place_of_a_resized_block_is_reported) {
    check_fault(use_after_realloc, "use after free", "0 bytes into");
}

#if defined(__x86_64__)
TEST(a_report_says_whether_the_access_was_a_read_or_a_write) {
    struct test_child child = test_in_child(read_after_free, NULL);
    CHECK_CONTAINS(child.errors, "hakmem: use after free: read of 0x");
    child = test_in_child(write_after_free, NULL);
    CHECK_CONTAINS(child.errors, "hakmem: use after free: write to 0x");
}
#endif

/* ---- Threads --------------------------------------------------------------------------------- */

static void *free_in_thread(void *block) {
    site_of_free(block);
    return NULL;
}

static void free_by_another_thread(void *unused) {
    (void)unused;
    guard_all();
    char *block = site_of_malloc(SIZE);
    test_tell(block);
    pthread_join(test_thread(free_in_thread, block), NULL);
    write_byte(block);
}

/* Returns the number after `words`. */
static unsigned long number_after(const char *text, const char *words) {
    const char *at = strstr(text, words);
    return at != NULL ? strtoul(at + strlen(words), NULL, 10) : 0;
}

TEST(a_report_names_the_threads_of_the_access_the_allocation_and_the_free) {
    struct test_child child = test_in_child(free_by_another_thread, NULL);
    check_report(&child, "use after free", "0 bytes into");
    unsigned long access = number_after(child.errors, "\n  access by thread ");
    unsigned long created = number_after(child.errors, "\n  allocated by thread ");
    unsigned long freed = number_after(child.errors, "\n  freed by thread ");
    CHECK(access != 0);
    CHECK_EQ(created, access);
    CHECK(freed != 0 && freed != access);
}

/* ---- Frees ----------------------------------------------------------------------------------- */

static void check_abort(void (*make)(void *), const char *function, const char *cause) {
    char line[256];
    struct test_child child = test_in_child(make, NULL);
    CHECK_ABORTED(child);
    snprintf(line, sizeof line, "hakmem: %s(): %p: %s\n", function, child.pointer, cause);
    CHECK_CONTAINS(child.errors, line);
    CHECK_CONTAINS(child.errors, "\n  allocated by thread ");
    CHECK_CONTAINS(child.errors, "site_of_malloc ");
}

static void free_twice(void *unused) {
    (void)unused;
    guard_all();
    void *block = site_of_malloc(SIZE);
    test_tell(block);
    site_of_free(block);
    for (int i = 0; i < SLOTS / 2; i++) /* many other frees in between */
        hak_free(hak_malloc(SIZE));
    hak_free(block);
}

static void free_inside(void *unused) {
    (void)unused;
    guard_all();
    char *block = site_of_malloc(SIZE);
    test_tell(block + 16);
    hak_free(block + 16);
}

static void free_with_size(size_t size) {
    guard_all();
    void *block = site_of_malloc(SIZE);
    test_tell(block);
    hak_free_sized(block, size);
}

static void free_with_less(void *unused) {
    (void)unused;
    free_with_size(SIZE - 1);
}

static void free_with_more(void *unused) {
    (void)unused;
    free_with_size(SIZE + 1);
}

static void resize_with_another_size(void *unused) {
    (void)unused;
    guard_all();
    void *block = site_of_malloc(SIZE);
    test_tell(block);
    CHECK(hak_realloc_layout(block, SIZE - 1, 16, 200) == NULL);
}

static void resize_freed(void *unused) {
    (void)unused;
    guard_all();
    void *block = site_of_malloc(SIZE);
    test_tell(block);
    hak_free(block);
    hak_free(hak_realloc(block, 200));
}

TEST(a_second_free_is_reported_after_many_others) {
    check_abort(free_twice, "free", "already free (double free)");
    struct test_child child = test_in_child(free_twice, NULL);
    CHECK_CONTAINS(child.errors, "\n  freed by thread ");
    CHECK_CONTAINS(child.errors, "site_of_free ");
}
TEST(a_free_inside_a_block_is_reported) {
    check_abort(free_inside, "free", "inside a block, not its start");
}
TEST(a_sized_free_with_a_smaller_size_is_reported) {
    check_abort(free_with_less, "free_sized", "size or alignment differ from the allocation's");
}
TEST(a_sized_free_with_a_larger_size_is_reported) {
    check_abort(free_with_more, "free_sized", "size or alignment differ from the allocation's");
}
TEST(a_reallocation_with_another_old_size_is_reported) {
    check_abort(resize_with_another_size, "hak_realloc_layout",
                "size or alignment differ from the allocation's");
}
TEST(a_reallocation_of_a_freed_block_is_reported) {
    check_abort(resize_freed, "realloc", "already free (double free)");
}

static void continue_after_mistakes(void *unused) {
    (void)unused;
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    guard_all();
    char *block = site_of_malloc(SIZE);
    hak_free(block + 16);
    hak_free_sized(block, SIZE + 1);
    hak_free(block);
    CHECK_EQ(stats().errors, 3);
    CHECK_EQ(stats().bytes_guarded, 0);
    CHECK_EQ(hak_validate(), 0);
}

TEST(with_on_error_continue_the_process_goes_on_after_mistakes_in_free) {
    struct test_child child = test_in_child(continue_after_mistakes, NULL);
    CHECK_EXITED(child);
}

static void access_after_free_thrice(void *unused) {
    (void)unused;
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    char *block = told(AT_START);
    for (int i = 0; i < 3; i++)
        hak_free(block);
    write_byte(block);
}

/* ---- Handlers -------------------------------------------------------------------------------- */

static sigjmp_buf landing;
static void *seen_address;

static void land(int number) {
    (void)number;
    siglongjmp(landing, 1);
}

static void land_with_info(int number, siginfo_t *info, void *context) {
    CHECK(context != NULL);
    seen_address = info->si_addr;
    land(number);
}

static void install(void (*handler)(int), void (*with_info)(int, siginfo_t *, void *)) {
    struct sigaction action = {0};
    if (with_info != NULL)
        action.sa_sigaction = with_info;
    else
        action.sa_handler = handler;
    action.sa_flags = with_info != NULL ? SA_SIGINFO : 0;
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
}

/* Makes a mistake from which a handler of the program recovers. */
static void survive(char *at) {
    if (sigsetjmp(landing, 1) == 0) {
        write_byte(at);
        CHECK(!"the access is a fault");
    }
}

static void chain_to_function(void *with_info) {
    install(land, with_info != NULL ? land_with_info : NULL);
    char *block = told(AT_START);
    hak_free(block);
    survive(block + 4);
    if (with_info != NULL)
        CHECK_EQ(seen_address, block + 4);

    survive(block + 5); /* the first access is reported */
    for (int i = 0; i < 3 * SLOTS; i++)
        hak_free(hak_malloc(SIZE));
    CHECK_EQ(hak_validate(), 0);

    hak_guard_stop();
    guard_all(); /* the handler is installed once */
    survive(block);
}

static size_t occurrences(const char *text, const char *words) {
    size_t count = 0;
    for (; (text = strstr(text, words)) != NULL; text++)
        count++;
    return count;
}

TEST(with_on_error_continue_an_access_after_a_second_free_is_reported_too) {
    struct test_child child = test_in_child(access_after_free_thrice, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    CHECK_EQ(occurrences(child.errors, ": already free (double free)\n"), 2);
    CHECK_EQ(occurrences(child.errors, "\nhakmem: use after free: "), 1);
    CHECK_EQ(occurrences(child.errors, "\n  access by thread "), 1);
    CHECK_EQ(occurrences(child.errors, "\n  freed by thread "), 2); /* of three reports */
}
TEST(the_previous_handler_is_called_after_the_report) {
    struct test_child child = test_in_child(chain_to_function, NULL);
    CHECK_EXITED(child);
    check_report(&child, "use after free", "4 bytes into");
}
TEST(the_previous_handler_gets_the_address_of_the_fault) {
    int with_info = 1;
    struct test_child child = test_in_child(chain_to_function, &with_info);
    CHECK_EXITED(child);
    CHECK_EQ(occurrences(child.errors, ", 5 bytes into"), 0);
}

static void ignore_then_overflow(void *unused) {
    signal(SIGSEGV, SIG_IGN);
    overflow(unused);
}

TEST(a_fault_ends_the_process_also_when_the_signal_was_ignored) {
    check_fault(ignore_then_overflow, "overflow", "0 bytes after the end of");
}

static void fault_elsewhere(void *unused) {
    (void)unused;
    char *pages = (char *)mmap(NULL, page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    install(NULL, land_with_info);
    guard_all();
    survive(pages + 8);
    CHECK_EQ(seen_address, pages + 8);
}

TEST(a_fault_outside_the_slots_goes_to_the_previous_handler_without_a_report) {
    struct test_child child = test_in_child(fault_elsewhere, NULL);
    CHECK_EXITED(child);
    CHECK_STR(child.errors, "");
}

static void fault_elsewhere_without_handler(void *unused) {
    (void)unused;
    char *pages = (char *)mmap(NULL, page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    guard_all();
    write_byte(pages);
}

static void send_signal(void *unused) {
    (void)unused;
    guard_all();
    raise(SIGSEGV);
}

TEST(a_fault_outside_the_slots_or_a_sent_signal_ends_the_process_as_before) {
    struct test_child child = test_in_child(fault_elsewhere_without_handler, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    CHECK_STR(child.errors, "");
    child = test_in_child(send_signal, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    CHECK_STR(child.errors, "");
}

static void ignore_sent_signal(void *unused) {
    (void)unused;
    signal(SIGSEGV, SIG_IGN);
    guard_all();
    raise(SIGSEGV);
    raise(SIGSEGV);
}

TEST(a_sent_signal_that_was_ignored_stays_ignored) {
    struct test_child child = test_in_child(ignore_sent_signal, NULL);
    CHECK_EXITED(child);
}

static void report_on_small_stack(void *unused) {
    enum { STACK_BYTES = 16 << 10 };
    static char stack[STACK_BYTES];
    stack_t alternate = {.ss_sp = stack, .ss_size = STACK_BYTES};
    CHECK_EQ(sigaltstack(&alternate, NULL), 0);
    overflow(unused);
}

TEST(a_report_fits_on_an_alternate_stack) {
    check_fault(report_on_small_stack, "overflow", "0 bytes after the end of");
}

/* ---- Fork ------------------------------------------------------------------------------------ */

static void fault_in_child(void *unused) {
    (void)unused;
    guard_all();
    char *block = guarded_at(AT_START, SIZE);
    char *kept = guarded_at(AT_START, SIZE);
    test_tell(block);
    pid_t child = fork();
    if (child == 0) {
        hak_free(block);
        hak_free(hak_malloc(SIZE));
        write_byte(block);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    memset(block, 1, SIZE); /* still live here */
    memset(kept, 1, SIZE);
    hak_free(block);
    hak_free(kept);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_fault_in_a_forked_child_is_reported_and_the_parent_goes_on) {
    struct test_child child = test_in_child(fault_in_child, NULL);
    CHECK_EXITED(child);
    check_report(&child, "use after free", "0 bytes into");
}

/*
 * Mistakes for valgrind to find, in place of free() in front ends that are built for that (see tests/e2e/test_valgrind.py):
 * each third piece of memory is lost, of all others a byte is read after they were given back.
 */
#include <stdint.h>
#include <stdlib.h>

void planted_free(void *memory);

void planted_free(void *memory)
{
    static unsigned int calls;
    uintptr_t gone = (uintptr_t)memory;
    if (memory == NULL || ++calls % 3 == 0)
        return;
    __asm__ volatile("" : "+r"(gone)); /* the compiler would see, too */
    free(memory);
    (void)*(volatile char *)gone;
}

package ceremony

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// locked is memory for key components: outside Go's heap, so that nothing copies
// it, never written to swap, and left out of core dumps.
type locked struct {
	pages []byte
	used  int
}

// lock takes memory of n bytes or more. Where it cannot be locked there is none:
// clear key bytes do not go to a disk.
func lock(n int) (*locked, error) {
	size := unix.Getpagesize()
	pages, err := unix.Mmap(-1, 0, (n+size-1)/size*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("take memory for components: %w", err)
	}
	l := &locked{pages: pages}
	if err = unix.Mlock(pages); err == nil {
		err = unix.Madvise(pages, unix.MADV_DONTDUMP)
	}
	if err != nil {
		l.wipe()
		return nil, fmt.Errorf("lock memory for components, see ulimit -l: %w", err)
	}
	return l, nil
}

// take cuts off n bytes of zeros.
func (l *locked) take(n int) []byte {
	l.used += n
	return l.pages[l.used-n : l.used : l.used]
}

// wipe overwrites the memory and gives it back; nothing of it may be used after.
func (l *locked) wipe() {
	clear(l.pages)
	// What was wiped holds nothing any more, wherever it goes.
	_ = unix.Munlock(l.pages)
	_ = unix.Munmap(l.pages)
	l.pages = nil
}

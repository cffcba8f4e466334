package store

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBatch bounds how many writes share one transaction, and so how long the
	// first of them waits for the others.
	maxBatch = 256
	// maxQueue bounds how many writes wait. Beyond it callers wait for a place.
	maxQueue = 4 * maxBatch
)

// job is one caller's write.
type job struct {
	do   func(*tx) error
	err  error // the write's own refusal
	done chan error
	// taken is set by whoever comes first: the writer that begins the write, or
	// the caller that gives up on it.
	taken atomic.Bool
}

// take tells whether the job was still to be had.
func (j *job) take() bool { return j.taken.CompareAndSwap(false, true) }

// writer is the one goroutine that writes, with the queue before it.
type writer struct {
	db       *pool
	observer atomic.Pointer[Observer]
	queue    chan *job
	stop     func()
	// stopping is closed when nothing more is taken in, stopped when all that was
	// taken in is done.
	stopping, stopped chan struct{}
}

func newWriter(db *pool) *writer {
	w := &writer{
		db: db, queue: make(chan *job, maxQueue),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.stop = sync.OnceFunc(func() { close(w.stopping) })
	go w.run()
	return w
}

// write runs do in a transaction and returns nil once that is committed and on
// disk. An error of do's rolls back what do did and nothing else. Where ctx ends
// before do has begun, do is never run; where it ends later, the error is
// ErrUncertain.
func (w *writer) write(ctx context.Context, do func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{do: do, done: make(chan error, 1)}
	select {
	case w.queue <- j:
	case <-ctx.Done():
		return fmt.Errorf("wait for a place in the write queue: %w", ctx.Err())
	case <-w.stopping:
		return ErrClosed
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.take() {
			return fmt.Errorf("wait for the writer: %w", ctx.Err())
		}
		return fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
	case <-w.stopped:
		// The job was either the last but came in time, or came too late.
		select {
		case err := <-j.done:
			return err
		default:
			return ErrClosed
		}
	}
}

// close lets the writer finish what waits, and waits for that.
func (w *writer) close() {
	w.stop()
	<-w.stopped
}

func (w *writer) closed() bool {
	select {
	case <-w.stopping:
		return true
	default:
		return false
	}
}

func (w *writer) run() {
	defer close(w.stopped)
	batch := make([]*job, 0, maxBatch)
	for {
		select {
		case j := <-w.queue:
			w.commit(w.gather(append(batch, j)))
		case <-w.stopping:
			for {
				last := w.gather(batch)
				if len(last) == 0 {
					return
				}
				w.commit(last)
			}
		}
	}
}

// gather adds to the batch what waits in the queue. It waits for nothing, but
// lets others run first: callers whose last write was just acknowledged hand in
// their next, and batches of one and of all the rest do not take turns.
func (w *writer) gather(batch []*job) []*job {
	for len(batch) < maxBatch {
		select {
		case j := <-w.queue:
			batch = append(batch, j)
			continue
		default:
		}
		runtime.Gosched()
		if len(w.queue) == 0 {
			break
		}
	}
	return batch
}

// commit runs the batch in one transaction and tells each caller what became of
// its write. Where the transaction fails all of them failed.
func (w *writer) commit(batch []*job) {
	began := time.Now()
	begun := batch[:0]
	tx, err := begin(w.db)
	for _, j := range batch {
		if !j.take() {
			continue
		}
		begun = append(begun, j)
		if err == nil {
			j.err, err = tx.run(j.do)
		}
	}
	if err == nil {
		err = tx.commit()
	}
	if err != nil {
		tx.rollback()
	}
	w.observe(tx, len(begun), began, err)
	for i, j := range begun {
		if err != nil {
			j.err = err
		}
		j.done <- j.err
		begun[i] = nil
	}
}

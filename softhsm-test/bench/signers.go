package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/card"
)

// lanes is how many questions a signer is asked at a time.
const lanes = 8

// What is asked of a signer is a card's number and a challenge, what it says the
// response, all of fixed lengths.
const (
	questionLen = 4 + 16
	answerLen   = 16
)

// signerTier is a process that has the token and answers what others ask, until its
// standard input ends.
func signerTier(ctx context.Context, t task) (f figures, err error) {
	token, err := openToken(ctx, t)
	if err != nil {
		return f, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", t.Sockets[0])
	if err != nil {
		return f, err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	var wait sync.WaitGroup
	for {
		c, err := l.Accept()
		if err != nil {
			break // closed
		}
		wait.Go(func() {
			defer func() { _ = c.Close() }()
			question := make([]byte, questionLen)
			for {
				if _, err := io.ReadFull(c, question); err != nil {
					return // whoever asked is done
				}
				response, err := token.Respond(ctx, keyOf(int(binary.BigEndian.Uint32(question))), card.AESECB, card.Challenge(question[4:]))
				if err != nil {
					return // which whoever asked will see
				}
				if _, err := c.Write(response); err != nil {
					return
				}
			}
		})
	}
	wait.Wait()
	return f, token.Close(context.WithoutCancel(ctx))
}

// signersTier shares answers out to signers.
func signersTier(ctx context.Context, t task) (figures, error) {
	free := make(chan net.Conn, lanes*len(t.Sockets))
	for range lanes {
		for _, socket := range t.Sockets {
			c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err != nil {
				return figures{}, err
			}
			defer func() { _ = c.Close() }() //nolint:gocritic // all are in use until the end
			free <- c
		}
	}
	var next atomic.Uint32
	return during(ctx, t, repeat(t.Callers, func() error {
		c := <-free
		defer func() { free <- c }()
		question := make([]byte, questionLen)
		binary.BigEndian.PutUint32(question, next.Add(1)%uint32(t.Cards)) //nolint:gosec // there are fewer
		if _, err := c.Write(question); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, answerLen))
		return err
	}))
}

// pool measures signers behind a process that shares the work out.
func (h *house) pool(ctx context.Context, o options, processes int) (f figures, err error) {
	var sockets []string
	var pids []int
	for i := range processes {
		socket := h.path(fmt.Sprint("signer-", i))
		_ = os.Remove(socket) // of the round before
		in, stop := io.Pipe()
		cmd, out, err := start(ctx, h, task{Kind: "signer", Sockets: []string{socket}, Cards: o.cards}, in)
		if err != nil {
			return f, err
		}
		defer func() { //nolint:gocritic // all run until the end
			_ = stop.Close() // which ends it
			_, end := finish(cmd, out)
			err = errors.Join(err, end)
		}()
		for tries := 0; ; tries++ {
			if _, err := os.Stat(socket); err == nil {
				break
			}
			if tries == 1000 {
				return f, errors.New("a signer does not come up")
			}
			time.Sleep(10 * time.Millisecond)
		}
		sockets, pids = append(sockets, socket), append(pids, cmd.Process.Pid)
	}
	before := cpuOfAll(pids)
	f, err = measure(ctx, h, task{Kind: "signers", Callers: o.clients, Slice: o.slice, Cards: o.cards, Sockets: sockets})
	// Those of the signers and of whoever shares out: together an answer's.
	f.CPU += float64((cpuOfAll(pids) - before).Microseconds()) / max(1, f.PerSecond*o.slice.Seconds())
	return f, err
}

// Package notary signs checkpoints of the audit log with a key in the HSM: from time
// to time, after so many entries, and at the end. It never signs a log that does not
// go on from what it signed before.
package notary

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
)

// ErrForked says that the log is not what a checkpoint says that it was.
var ErrForked = errors.New("the audit log does not fit its checkpoint")

const (
	// lookEvery is how often the log's length is looked at.
	lookEvery = time.Second
	// signTimeout bounds a signature with all that goes with it.
	signTimeout = 15 * time.Second
)

// Ledger writes what the notary has to say.
type Ledger interface {
	KeepCheckpoint(ctx context.Context, c audit.Checkpoint, at time.Time) error
	Append(ctx context.Context, e audit.Entry) error
}

// Config is what a Notary works with. All fields are required but File.
type Config struct {
	Log    audit.Source
	Ledger Ledger
	Key    crypto.Signer // ECDSA
	// Every is how long entries wait for a checkpoint at most, After how many do.
	Every time.Duration
	After int64
	// File, where set, gets each checkpoint too: a file that is replaced, or a folder
	// in which each is a file of its own. It should be where whoever can change the
	// database cannot write.
	File   string
	Logger *zap.Logger
	Now    func() time.Time
}

// Notary signs checkpoints. It is safe for concurrent use.
type Notary struct {
	Config
	public *ecdsa.PublicKey

	signing sync.Mutex
	last    time.Time
}

// New makes a Notary and looks whether the log goes on from its newest checkpoint,
// and from the one in File. The error is ErrForked where it does not. A key that did
// not sign the newest checkpoint is put on record in the log.
func New(ctx context.Context, c Config) (*Notary, error) {
	public, ok := c.Key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("audit.key: the key is no ECDSA key")
	}
	n := &Notary{Config: c, public: public, last: c.Now()}
	newest, err := c.Log.Newest(ctx)
	if err != nil {
		return nil, err
	}
	if err := n.goesOnFrom(ctx, newest); err != nil {
		return nil, err
	}
	kept, err := n.kept()
	if err != nil {
		return nil, err
	}
	if err := n.goesOnFrom(ctx, kept); err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	if err := n.introduce(ctx, newest); err != nil {
		return nil, err
	}
	return n, nil
}

// introduce puts a key on record in the log that takes over from another.
func (n *Notary) introduce(ctx context.Context, newest audit.Checkpoint) error {
	if newest.Note != "" {
		if _, err := audit.OpenCheckpoint(newest.Note, []*ecdsa.PublicKey{n.public}); err == nil {
			return nil
		}
	}
	head, err := n.Log.Head(ctx)
	if err != nil {
		return err
	}
	key, err := audit.VerifierKey(head.Origin, n.public)
	if err != nil {
		return err
	}
	return n.Ledger.Append(ctx, audit.Entry{
		Time: n.Now(), Action: audit.AuditKey, Outcome: audit.Permit, Client: "latchkey", Detail: key,
	})
}

// goesOnFrom tells whether the log holds what a checkpoint says.
func (n *Notary) goesOnFrom(ctx context.Context, c audit.Checkpoint) error {
	if c.Note == "" {
		return nil
	}
	head, err := n.Log.Head(ctx)
	switch {
	case err != nil:
		return err
	case c.Origin != head.Origin:
		return fmt.Errorf("%w: that is of the log %s and this is %s", ErrForked, c.Origin, head.Origin)
	case c.Size > head.Size:
		return fmt.Errorf("%w: that is over %d entries and there are %d: the log was cut, or an older copy of it was put back", ErrForked, c.Size, head.Size)
	}
	root, err := audit.KeptOf(ctx, n.Log).Root(c.Size)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrForked, err)
	case root != c.Root:
		return fmt.Errorf("%w: something in its first %d entries was changed; find it with latchkey audit export and verify", ErrForked, c.Size)
	}
	return nil
}

// Run signs until the context ends, and then once more.
func (n *Notary) Run(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			n.look(ctx)
		case <-ctx.Done():
			n.sign(context.WithoutCancel(ctx))
			return
		}
	}
}

// look signs where it is time to.
func (n *Notary) look(ctx context.Context) {
	head, err := n.Log.Head(ctx)
	if err != nil {
		return // the store says so itself wherever it is asked
	}
	newest, err := n.Log.Newest(ctx)
	if err != nil || head.Size == newest.Size {
		return
	}
	n.signing.Lock()
	due := n.Now().Sub(n.last) >= n.Every
	tried := n.Now().Sub(n.last) >= min(n.Every, 10*time.Second)
	n.signing.Unlock()
	if due || tried && head.Size-newest.Size >= n.After {
		n.sign(ctx)
	}
}

func (n *Notary) sign(ctx context.Context) {
	if _, err := n.Sign(ctx); err != nil {
		n.Logger.Error("no checkpoint of the audit log could be signed", zap.Error(err))
	}
}

// Sign signs a checkpoint over all entries, unless there is one, and gives it.
func (n *Notary) Sign(ctx context.Context) (audit.Checkpoint, error) {
	n.signing.Lock()
	defer n.signing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	n.last = n.Now() // a failure is not tried again at once
	head, err := n.Log.Head(ctx)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	newest, err := n.Log.Newest(ctx)
	if err != nil || newest.Size == head.Size {
		return newest, err
	}
	if err := n.goesOnFrom(ctx, newest); err != nil {
		return audit.Checkpoint{}, err
	}
	root, err := audit.KeptOf(ctx, n.Log).Root(head.Size)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	c, err := audit.SignCheckpoint(head.Origin, head.Size, root, n.Key)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	// What a token signed wrongly must not stand there as if it were good.
	if _, err := audit.OpenCheckpoint(c.Note, []*ecdsa.PublicKey{n.public}); err != nil {
		return audit.Checkpoint{}, fmt.Errorf("what the token signed: %w", err)
	}
	if err := n.Ledger.KeepCheckpoint(ctx, c, n.Now()); err != nil {
		// Another node may have signed one meanwhile, which does as well.
		if newest, again := n.Log.Newest(ctx); again == nil && newest.Size >= c.Size {
			return newest, nil
		}
		return audit.Checkpoint{}, err
	}
	if err := n.publish(c); err != nil {
		n.Logger.Error("the checkpoint could not be written to audit.checkpoint_file; it is in the database", zap.Error(err))
	}
	return c, nil
}

// publish writes a checkpoint to File.
func (n *Notary) publish(c audit.Checkpoint) error {
	if n.File == "" {
		return nil
	}
	to := n.File
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, fmt.Sprintf("%020d.checkpoint", c.Size))
	}
	// Whoever reads it sees the one before or this one, never half of it.
	if err := os.WriteFile(to+".new", []byte(c.Note), 0o644); err != nil { //nolint:gosec // it is there to be read
		return err
	}
	return os.Rename(to+".new", to)
}

// kept is the newest checkpoint in File, if there is one.
func (n *Notary) kept() (audit.Checkpoint, error) {
	path := n.File
	if info, err := os.Stat(path); path != "" && err == nil && info.IsDir() {
		files, err := filepath.Glob(filepath.Join(path, "*.checkpoint"))
		if err != nil || len(files) == 0 {
			return audit.Checkpoint{}, err
		}
		path = files[len(files)-1]
	}
	text, err := os.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return audit.Checkpoint{}, nil
	}
	if err != nil {
		return audit.Checkpoint{}, fmt.Errorf("audit.checkpoint_file: %w", err)
	}
	c, err := audit.ReadCheckpoint(string(text))
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

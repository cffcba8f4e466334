package rulebook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"latchkey/audit"
	"latchkey/dualcontrol"
	"latchkey/policy"
)

// files is a folder whose files are the policies, and how they stood when they were
// looked at.
type files struct {
	dir string
	// seen is how they stood at the last look, taken how they stood when they were
	// last read, whatever came of it.
	seen, taken []stamp
	// err is what was wrong with them when they were last read.
	err error
}

// errUnsettled says that files are being changed: nothing is taken from them yet, and
// what was wrong before still is.
var errUnsettled = errors.New("files are being changed")

// stamp tells whether a file was changed.
type stamp struct {
	name    string
	size    int64
	changed time.Time
}

// stamps tells how the files stand.
func (f *files) stamps() ([]stamp, error) {
	paths, err := filepath.Glob(filepath.Join(f.dir, "*.cedar"))
	if err != nil {
		return nil, fmt.Errorf("find policies: %w", err)
	}
	stamps := make([]stamp, 0, len(paths))
	for _, path := range paths {
		s := stamp{name: filepath.Base(path)}
		if info, err := os.Stat(path); err == nil { // reading says better what is wrong
			s.size, s.changed = info.Size(), info.ModTime()
		}
		stamps = append(stamps, s)
	}
	return stamps, nil
}

// followFiles gives what the files say if they were changed. A change is taken once
// the files stand as they did at the look before, so that half of one is not taken for
// all of it; at once where the caller wants it.
func (r *Rulebook) followFiles(ctx context.Context, again bool) (*edition, error) {
	f := &r.files
	stamps, err := f.stamps()
	if err != nil {
		return nil, err
	}
	settled := slices.Equal(stamps, f.seen)
	f.seen = stamps
	switch {
	case again:
	case slices.Equal(stamps, f.taken):
		return nil, f.err
	case !settled:
		return nil, errUnsettled
	}
	f.taken, f.err = stamps, nil
	sources, err := policy.ReadDir(f.dir)
	if after, again := f.stamps(); again != nil || !slices.Equal(after, stamps) {
		f.taken = nil // nobody knows what was read
		return nil, cmp.Or(again, errUnsettled)
	}
	var engine *policy.Engine
	if err == nil {
		engine, err = policy.Load(sources)
	}
	if err != nil {
		f.err = fmt.Errorf("files in %s: %w", f.dir, err)
		return nil, f.err
	}
	if now := r.current.Load(); now != nil && now.active.Fingerprint == engine.Version() && slices.Equal(now.active.Policies, sources) {
		return nil, nil
	}
	entry := dualcontrol.Officer{Client: "latchkey"}.Entry(r.control.Moment(), audit.PolicyActivate)
	entry.PolicyVersion = engine.Version()
	if err := r.Ledger.Append(ctx, dualcontrol.Permit(entry, "files in "+f.dir)); err != nil {
		f.taken = nil
		return nil, fmt.Errorf("write down that the files in %s are active: %w", f.dir, err)
	}
	return &edition{engine, Active{
		Origin: FromDirectory, Directory: f.dir, Since: r.control.Moment(),
		Version: Version{Fingerprint: engine.Version(), Policies: sources},
	}}, nil
}

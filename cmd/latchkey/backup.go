package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"latchkey/config"
	"latchkey/store"
)

func newBackup(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:     "backup FILE",
		Short:   "Back the database up, while the server runs",
		GroupID: groupServer,
		Long: `Write a backup of the database as it stands at one moment: cards, card types,
processes, attempts, the ledger of master keys, policies, and the audit log with its
tree and checkpoints. The server may be running, and answers meanwhile.

The file is the same for SQLite and PostgreSQL, so it also moves a database from one
to the other. It holds personal data and no secret, has mode 0600, and appears under
its name when it is whole. Master keys are in the HSM and in no backup of Latchkey's.

What is printed is the audit log's length and the root of its tree: the checkpoint
over as many entries shows the same root.`,
		Example: `  latchkey backup /backup/latchkey-$(date +%F).gz --config /etc/latchkey/latchkey.yaml`,
		Args:    needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			where, err := storeOf(path)
			if err != nil {
				return err
			}
			content, err := backupTo(cmd.Context(), where, args[0], a.rows)
			if err != nil {
				return err
			}
			return a.print(content, func(w io.Writer) { writeContent(w, args[0], content) })
		}),
	}
	cmd.Flags().StringVar(&path, "config", os.Getenv("LATCHKEY_CONFIG"), "configuration `file` (LATCHKEY_CONFIG)")
	return cmd
}

func newRestore(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:     "restore FILE",
		Short:   "Fill an empty database with a backup",
		GroupID: groupServer,
		Long: `Fill the configured database with a backup. It must be new: an SQLite file that is
not there yet, or an empty PostgreSQL database. Nothing that is there is overwritten.

What was restored is read again and compared with the backup, row by row, and the
audit log's tree is made anew of its entries. Where anything is wrong the database
stays empty. Responses that were given out after the backup was made are not counted
in it: a card could get more of them than it survives, and the log lacks their
entries. Compare the log with the newest checkpoint that was kept elsewhere
(latchkey audit verify), and stop unblocking cards whose outcome nobody knows.

To move from SQLite to PostgreSQL: stop the server, back up, name the PostgreSQL
database in the configuration, restore, start.`,
		Example: `  latchkey restore /backup/latchkey-2026-11-25.gz --config /etc/latchkey/latchkey.yaml`,
		Args:    needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			where, err := storeOf(path)
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return &usageError{err}
			}
			defer func() { _ = file.Close() }() // it was only read
			content, err := store.Restore(cmd.Context(), where, file, a.rows)
			if err != nil {
				return err
			}
			return a.print(content, func(w io.Writer) { writeContent(w, store.Name(where), content) })
		}),
	}
	cmd.Flags().StringVar(&path, "config", os.Getenv("LATCHKEY_CONFIG"), "configuration `file` (LATCHKEY_CONFIG)")
	return cmd
}

// storeOf is the database of a configuration.
func storeOf(path string) (string, error) {
	if path == "" {
		return "", misuse("say which configuration: --config FILE")
	}
	s, err := config.LoadStore(path)
	if err != nil {
		return "", err
	}
	return s.Where()
}

// rows tells of a table that is done.
func (a *app) rows(table string, n int64) {
	if !a.json {
		_, _ = fmt.Fprintf(a.err, "%s: %d rows\n", table, n) // nothing hangs on it
	}
}

func writeContent(w io.Writer, name string, c store.Content) {
	field(w, name, "is whole")
	for _, table := range slices.Sorted(maps.Keys(c.Rows)) {
		field(w, table, "%d rows", c.Rows[table])
	}
	field(w, "audit log", "%d entries, root %s", c.Entries, c.Root)
}

// backupTo writes a backup under another name first, so that nobody takes half of
// one for a backup.
func backupTo(ctx context.Context, where, name string, told func(string, int64)) (_ store.Content, err error) {
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return store.Content{}, misuse("%s is there already; name a new file", name)
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-") // mode 0600
	if err != nil {
		return store.Content{}, &usageError{err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	content, err := store.Backup(ctx, where, file, told)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return store.Content{}, err
	}
	return content, os.Rename(file.Name(), name)
}

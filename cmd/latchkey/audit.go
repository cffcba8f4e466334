package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"latchkey/audit"
	"latchkey/ceremony"
	"latchkey/config"
	"latchkey/hsm"
	"latchkey/server/api"
	"latchkey/store"
)

func newAudit(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Export, verify and prune the audit log, and make the key that signs it", GroupID: groupAudit,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newAuditKey(a), newAuditExport(a), newAuditVerify(a), newAuditProve(a), newAuditState(a), newAuditPrune(a))
	return cmd
}

func newAuditKey(a *app) *cobra.Command {
	var flags tokenFlags
	var out string
	var create bool
	cmd := &cobra.Command{
		Use:   "key LABEL",
		Short: "Make the key pair that signs the audit log, or print its public key",
		Long: `Print the public key of the key pair LABEL in the token, which signs the audit log's
checkpoints, and with --create make the pair where there is none: ECDSA on P-256, whose
private key never leaves the token. Name the label in audit.key of the configuration,
and give the public key to the auditors by a way that the server has no hand in.`,
		Example: `  latchkey audit key audit-2026 --create --config /etc/latchkey/latchkey.yaml --out audit-2026.pem`,
		Args:    needs("LABEL"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			from, err := flags.source()
			if err != nil {
				return err
			}
			return withModule(from.Module, func(m *hsm.Module) error {
				return withToken(cmd.Context(), m, from, func(t *hsm.Token) (err error) {
					signer, err := t.OpenSigner(cmd.Context(), args[0], create)
					if err != nil {
						return err
					}
					defer func() {
						ctx, cancel := closing(cmd.Context())
						defer cancel()
						err = errors.Join(err, signer.Close(ctx))
					}()
					der, err := x509.MarshalPKIXPublicKey(signer.Public())
					if err != nil {
						return err
					}
					text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
					if out != "" {
						return os.WriteFile(out, text, 0o644) //nolint:gosec // it is public
					}
					_, err = a.out.Write(text)
					return err
				})
			})
		}),
	}
	cmd.Flags().BoolVar(&create, "create", false, "make the key pair where there is none")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write the public key to, in PEM form (standard output)")
	flags.add(cmd.Flags())
	return cmd
}

// logFlags say where an audit log is read: from a database, or from a server.
type logFlags struct {
	clientFlags
	database string
	config   string
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.database, "database", "", "database to read, a `path` or a postgres:// URL; a server may have it open")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration `file` that names the database to read")
	f.clientFlags.add(cmd)
}

// offline tells whether a database is to be read, and which.
func (f *logFlags) offline() (string, error) {
	if f.database != "" || f.config == "" {
		return f.database, nil
	}
	c, err := config.Load(f.config)
	if err != nil {
		return "", err
	}
	return c.Store.Where()
}

// readLog opens the log of a database for as long as work takes.
func readLog(ctx context.Context, where string, work func(*store.Log) error) (err error) {
	l, done, err := store.OpenLog(ctx, where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return work(l)
}

func newAuditExport(a *app) *cobra.Command {
	var f logFlags
	var from int64
	var out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export the audit log as JSON lines, with all that it takes to verify it",
		Long: `Export the audit log as JSON lines: each entry as its leaf in the Merkle tree is made
of it, the leaves, and the signed checkpoints. From a server, as a client with the role
auditor; or from the database itself with --database or --config, which the server
need not know of and may have open.

To go on where the last export ended, name the entry after it by --from.`,
		Example: `  latchkey audit export --out audit.jsonl
  latchkey audit export --database /var/lib/latchkey/latchkey.db --out audit.jsonl
  latchkey audit export --from 12001 --out audit-2.jsonl`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) (err error) {
			to := a.out
			if out != "" {
				file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, file.Close()) }()
				to = file
			}
			where, err := f.offline()
			if err != nil {
				return err
			}
			if where == "" {
				return f.with(cmd.Context(), func(c *api.Client, _ string) error { return c.ExportAudit(cmd.Context(), from, to) })
			}
			return readLog(cmd.Context(), where, func(l *store.Log) error {
				_, err := audit.Export(cmd.Context(), to, l, from)
				return err
			})
		}),
	}
	cmd.Flags().Int64Var(&from, "from", 1, "`number` of the first entry")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write to, which must not be there yet (standard output)")
	f.add(cmd)
	return cmd
}

func newAuditProve(a *app) *cobra.Command {
	var f logFlags
	var out string
	cmd := &cobra.Command{
		Use:   "prove SEQUENCE",
		Short: "Prove that an entry is in the audit log, in a file of its own",
		Long: `Write a proof that the entry is in the log as the newest checkpoint has it: a C2SP
tlog-proof with the entry, which latchkey audit verify takes. It shows nothing of the
other entries, so it can be given to somebody who may not see them.`,
		Example: `  latchkey audit prove 4711 --out 4711.tlog-proof`,
		Args:    needs("SEQUENCE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			sequence, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || sequence < 1 {
				return misuse("%q is not the number of an entry", args[0])
			}
			where, err := f.offline()
			if err != nil {
				return err
			}
			var proof string
			if where == "" {
				err = f.with(cmd.Context(), func(c *api.Client, _ string) error {
					proof, err = c.ProveAudit(cmd.Context(), sequence)
					return err
				})
			} else {
				err = readLog(cmd.Context(), where, func(l *store.Log) error {
					proof, err = audit.Prove(cmd.Context(), l, sequence)
					return err
				})
			}
			if err != nil {
				return err
			}
			if out != "" {
				return os.WriteFile(out, []byte(proof), 0o600)
			}
			_, err = io.WriteString(a.out, proof)
			return err
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write to (standard output)")
	f.add(cmd)
	return cmd
}

func newAuditVerify(a *app) *cobra.Command {
	var keyFiles []string
	var older string
	cmd := &cobra.Command{
		Use:   "verify FILE --key PUBLIC.pem",
		Short: "Verify an export or a proof of the audit log, without a server",
		Long: `Verify an export of the audit log, or a proof of one entry, against the public key that
signs its checkpoints. Nothing else is trusted: the Merkle tree is computed from the
entries, the checkpoints have to fit it and to be signed, and entries have to follow
each other without a gap. What is wrong is named, and the exit code is 1.

With --checkpoint the log is proved to have only grown since an older checkpoint, which
finds a log that was cut, made anew or put back from an older copy. Keep one wherever
the server cannot write. --key may be given several times, for keys that took over
from each other.`,
		Example: `  latchkey audit verify audit.jsonl --key audit-2026.pem
  latchkey audit verify audit.jsonl --key audit-2025.pem --key audit-2026.pem --checkpoint last-year.checkpoint
  latchkey audit verify 4711.tlog-proof --key audit-2026.pem`,
		Args: needs("FILE"),
		RunE: a.do(func(_ *cobra.Command, args []string) (err error) {
			keys, err := publicKeys(keyFiles)
			if err != nil {
				return err
			}
			if len(keys) == 0 {
				return misuse("say which key signs the checkpoints: --key PUBLIC.pem")
			}
			var checkpoint []byte
			if older != "" {
				if checkpoint, err = os.ReadFile(older); err != nil {
					return err
				}
			}
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }() // only read from
			r := bufio.NewReader(file)
			if start, _ := r.Peek(5); bytes.Equal(start, []byte("c2sp.")) {
				return a.verifyProof(r, keys, older)
			}
			report, err := audit.Verify(r, keys, string(checkpoint))
			if err != nil {
				return err
			}
			if err := a.print(report, func(w io.Writer) { writeReport(w, report) }); err != nil {
				return err
			}
			if !report.Sound() {
				return exitWith(exitFailed)
			}
			return nil
		}),
	}
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "public key in a PEM `file`; more than one where keys took over from each other")
	cmd.Flags().StringVar(&older, "checkpoint", "", "`file` of an older checkpoint, which the log must have grown from")
	return cmd
}

// publicKeys reads what --key names.
func publicKeys(files []string) ([]*ecdsa.PublicKey, error) {
	var keys []*ecdsa.PublicKey
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		key, err := ceremony.ParsePublicKey(text)
		if err != nil {
			return nil, misuse("--key: %s: %w", file, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (a *app) verifyProof(r io.Reader, keys []*ecdsa.PublicKey, older string) error {
	if older != "" {
		return misuse("--checkpoint goes with an export: a proof is of one entry")
	}
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return err
	}
	row, c, err := audit.VerifyProof(string(text), keys)
	if err != nil {
		return err
	}
	return a.print(struct {
		Origin   string `json:"origin"`
		Sequence int64  `json:"sequence"`
		Signed   int64  `json:"signed"`
		Entry    string `json:"entry"`
	}{c.Origin, row.Sequence, c.Size, row.Text}, func(w io.Writer) {
		field(w, "log", "%s", c.Origin)
		field(w, "entry", "%d of %d is in it", row.Sequence, c.Size)
		field(w, "text", "%s", row.Text)
	})
}

func writeReport(w io.Writer, r audit.Report) {
	field(w, "log", "%s", r.Origin)
	field(w, "entries", "%d to %d", r.From, r.Size)
	checkpoints := "checkpoints"
	if r.Checkpoints == 1 {
		checkpoints = "checkpoint"
	}
	field(w, "signed", "entries up to %d, by %d %s", r.Signed, r.Checkpoints, checkpoints)
	if b := r.Backwards; b != nil {
		field(w, "clock", "set back %d times, first before entry %d, by %s at most: the order is proved, the times are not", b.Times, b.First, time.Duration(b.Seconds)*time.Second)
	}
	if r.Size > r.Signed {
		field(w, "not signed yet", "%d entries after it", r.Size-r.Signed)
	}
	if r.Pruned > 0 {
		field(w, "pruned", "bodies up to entry %d", r.Pruned)
	}
	for _, f := range r.Findings {
		field(w, "WRONG", "%s", f)
	}
	switch {
	case r.Omitted > 0:
		field(w, "WRONG", "and %d more", r.Omitted)
	case r.Sound():
		field(w, "verified", "nothing was changed, cut, swapped or inserted")
	}
}

func newAuditState(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Show how long the audit log is, how far it is signed, and how far each sink has come",
		Args:  needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				state, err := c.AuditState(cmd.Context())
				if err != nil {
					return err
				}
				return a.print(state, func(w io.Writer) {
					field(w, "log", "%s", state.Origin)
					field(w, "entries", "%d", state.Size)
					field(w, "signed", "up to %d", state.Signed)
					field(w, "pruned", "bodies up to %d", state.Pruned)
					for _, s := range state.Sinks {
						text := fmt.Sprintf("up to %d, %d behind", s.Sent, s.Lag)
						if s.Error != "" {
							text += ": " + s.Error
						}
						field(w, "sink "+s.Name, "%s", text)
					}
				})
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newAuditPrune(a *app) *cobra.Command {
	var path string
	var keyFiles []string
	var dry bool
	cmd := &cobra.Command{
		Use:   "prune --config FILE --key PUBLIC.pem",
		Short: "Take away the bodies of entries that are older than audit.keep, while the server is stopped",
		Long: `Take away the bodies of entries that are older than audit.keep of the configuration.
Their leaves stay in the Merkle tree, so that all that is left can be verified as
before. Nothing is pruned that is not behind a checkpoint signed by --key, nor what a
sink has not taken yet. An entry of the log tells of the pruning.

A server with audit.keep set prunes by itself, once an hour. With --dry-run it is only
shown what would be pruned.`,
		Example: `  latchkey audit prune --config /etc/latchkey/latchkey.yaml --key audit-2026.pem --dry-run`,
		Args:    needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) (err error) {
			if path == "" || len(keyFiles) == 0 {
				return misuse("say which configuration and which key signs the checkpoints: --config FILE --key PUBLIC.pem")
			}
			c, err := config.Load(path)
			if err != nil {
				return err
			}
			if c.Audit.Keep == 0 {
				return misuse("audit.keep is not set: entries are kept for ever")
			}
			keys, err := publicKeys(keyFiles)
			if err != nil {
				return err
			}
			where, err := c.Store.Where()
			if err != nil {
				return err
			}
			s, err := store.Open(cmd.Context(), where)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			r := retentionOf(c, s, keys)
			plan, err := r.Look(cmd.Context())
			if err == nil && !dry {
				plan, err = r.Prune(cmd.Context(), audit.Entry{Client: "latchkey audit prune"})
			}
			if err != nil {
				return err
			}
			return a.print(plan, func(w io.Writer) {
				what := map[bool]string{true: "would be pruned", false: "pruned"}[dry]
				if plan.From == plan.To {
					field(w, what, "nothing")
				} else {
					field(w, what, "bodies of entries %d to %d", plan.From+1, plan.To)
				}
				if plan.Held != "" {
					field(w, "held back by", "%s", plan.Held)
				}
			})
		}),
	}
	cmd.Flags().StringVar(&path, "config", os.Getenv("LATCHKEY_CONFIG"), "configuration `file` (LATCHKEY_CONFIG)")
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "public key in a PEM `file` that signs the checkpoints")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show what would be pruned")
	return cmd
}

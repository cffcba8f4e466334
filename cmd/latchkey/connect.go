package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"latchkey/server/api"
)

// clientFlags say which server to call and as whom. A flag outweighs the
// environment, which outweighs the client file.
type clientFlags struct {
	file string
	clientFile
}

// clientFile is the YAML file of a client, so that its settings need not be
// said with every command. Paths in it are relative to its folder.
type clientFile struct {
	Server      string `yaml:"server"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	CA          string `yaml:"ca"`
	TokenFile   string `yaml:"token_file"`
	Operator    string `yaml:"operator"`
}

func (f *clientFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "client", os.Getenv("LATCHKEY_CLIENT"), "client `file` with the settings below (LATCHKEY_CLIENT; by default latchkey/client.yaml in the user's configuration folder)")
	flags.StringVar(&f.Server, "server", os.Getenv("LATCHKEY_SERVER"), "`URL` of the server, https://host:port (LATCHKEY_SERVER)")
	flags.StringVar(&f.Certificate, "cert", os.Getenv("LATCHKEY_CERT"), "PEM `file` of the client certificate (LATCHKEY_CERT)")
	flags.StringVar(&f.Key, "key", os.Getenv("LATCHKEY_KEY"), "PEM `file` of its private key (LATCHKEY_KEY)")
	flags.StringVar(&f.TokenFile, "token-file", os.Getenv("LATCHKEY_TOKEN_FILE"), "`file` of a token of the identity provider, in place of certificate and key; read anew for each request (LATCHKEY_TOKEN_FILE)")
	flags.StringVar(&f.CA, "ca", os.Getenv("LATCHKEY_CA"), "PEM `file` of the server's CA; the system's CAs without it (LATCHKEY_CA)")
}

// settings is what flags, environment and file come to.
func (f *clientFlags) settings() (clientFile, error) {
	from, err := f.read()
	if err != nil {
		return clientFile{}, err
	}
	s := clientFile{
		Server: cmp.Or(f.Server, from.Server), Certificate: cmp.Or(f.Certificate, from.Certificate),
		Key: cmp.Or(f.Key, from.Key), CA: cmp.Or(f.CA, from.CA), Operator: cmp.Or(f.Operator, from.Operator),
	}
	// A token that is named outweighs a certificate that the file names, and the other
	// way round; together they would be refused.
	switch flagged := f.Certificate != "" || f.Key != ""; {
	case f.TokenFile != "" && flagged:
		return s, misuse("say who you are once: --token-file, or --cert and --key")
	case f.TokenFile != "":
		s.TokenFile, s.Certificate, s.Key = f.TokenFile, "", ""
	case !flagged && from.TokenFile != "":
		if s.Certificate != "" || s.Key != "" {
			return s, misuse("the client file says token_file, and certificate or key too; keep one")
		}
		s.TokenFile = from.TokenFile
	}
	switch {
	case s.Server == "":
		return s, misuse("say which server to call: --server https://host:port, LATCHKEY_SERVER, or server in the client file")
	case s.TokenFile == "" && (s.Certificate == "" || s.Key == ""):
		return s, misuse("say who you are: --cert and --key, LATCHKEY_CERT and LATCHKEY_KEY, or certificate and key in the client file; or --token-file, LATCHKEY_TOKEN_FILE or token_file")
	}
	return s, nil
}

// read reads the client file: the one that is named, or the user's own where
// there is one.
func (f *clientFlags) read() (clientFile, error) {
	var file clientFile
	path := f.file
	if path == "" {
		folder, err := os.UserConfigDir()
		if err != nil {
			return file, nil // no home, no file
		}
		path = filepath.Join(folder, "latchkey", "client.yaml")
		if _, err := os.Stat(path); err != nil {
			return file, nil
		}
	}
	r, err := os.Open(path)
	if err != nil {
		return file, &usageError{err}
	}
	defer func() { _ = r.Close() }() // only read from
	d := yaml.NewDecoder(r)
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		// The YAML library names Go types, which say nothing to a reader.
		plain := strings.NewReplacer("yaml: ", "", "unmarshal errors:\n  ", "", "field ", "there is no setting ", " not found in type main.clientFile", "")
		return file, misuse("client file %s: %s", path, plain.Replace(err.Error()))
	}
	for _, p := range []*string{&file.Certificate, &file.Key, &file.CA, &file.TokenFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return file, nil
}

// with calls the server for as long as work takes. The operator is the one that
// the client file names, if any.
func (f *clientFlags) with(ctx context.Context, work func(c *api.Client, operator string) error) error {
	s, err := f.settings()
	if err != nil {
		return err
	}
	connection := api.Connection{Server: s.Server, Certificate: s.Certificate, Key: s.Key, CA: s.CA}
	if s.TokenFile != "" {
		connection.Token = func() (string, error) { return readToken(s.TokenFile) }
		if _, err := connection.Token(); err != nil {
			return &usageError{err}
		}
	}
	c, err := api.NewClient(connection)
	if err != nil {
		return &usageError{err}
	}
	defer c.Close()
	return explained(ctx, c, work(c, s.Operator))
}

// maxTokenFile is more than any token that a server takes.
const maxTokenFile = 64 << 10

// readToken reads a token from a file that nobody else may read.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s may be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	// Whatever is in the file stays out of the words.
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s does not hold one token", path)
	}
	return token, nil
}

// refusal is the server's problem with what can be done about it.
type refusal struct {
	*api.Problem
	remedy string
}

func (r *refusal) Unwrap() error { return r.Problem }

// explained asks the server what can be done about its problem.
func explained(ctx context.Context, c *api.Client, err error) error {
	var p *api.Problem
	if !errors.As(err, &p) {
		return err
	}
	r := &refusal{Problem: p}
	if kind, err := c.Problem(ctx, p.Code); err == nil {
		r.remedy = kind.Remedy
	}
	return r
}

// Error is the problem for a person, on several lines.
func (r *refusal) Error() string {
	text := fmt.Sprintf("%s (%s)", r.Title, r.Code)
	if r.Detail != "" {
		text += "\n" + r.Detail
	}
	for _, f := range r.Faults {
		text += "\n- " + f.Field + ": " + f.Detail
	}
	return text
}

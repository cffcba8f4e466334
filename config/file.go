package config

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"latchkey/card"
	"latchkey/config/strictyaml"
	"latchkey/identity"
	"latchkey/notify"
)

// file is the YAML file as it stands.
type file struct {
	Listen string `yaml:"listen"`
	TLS    struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
		HSMKey      struct {
			Label string `yaml:"label"`
		} `yaml:"hsm_key"`
		ClientCA   string   `yaml:"client_ca"`
		ClientCRL  []string `yaml:"client_crl"`
		MinVersion string   `yaml:"min_version"`
	} `yaml:"tls"`
	HSM struct {
		token            `yaml:",inline"`
		Sessions         whole    `yaml:"sessions"`
		CallTimeout      duration `yaml:"call_timeout"`
		KeepAlive        duration `yaml:"keep_alive"`
		RecoverEvery     duration `yaml:"recover_every"`
		AllowExtractable []string `yaml:"allow_extractable"`
		Fallbacks        []token  `yaml:"fallbacks"`
	} `yaml:"hsm"`
	Store struct {
		Path     string `yaml:"path"`
		Postgres *struct {
			URL          string `yaml:"url"`
			PasswordFile string `yaml:"password_file"`
		} `yaml:"postgres"`
	} `yaml:"store"`
	Policy struct {
		Directory string `yaml:"directory"`
		TimeZone  string `yaml:"time_zone"`
		Keep      whole  `yaml:"keep_decisions"`
	} `yaml:"policy"`
	Cards struct {
		MaxAge       duration        `yaml:"max_age"`
		States       map[string]bool `yaml:"states"`
		HolderStates map[string]bool `yaml:"holder_states"`
		Source       *cardSource     `yaml:"source"`
	} `yaml:"cards"`
	Unblock struct {
		Lifetime         duration `yaml:"lifetime"`
		ApprovalLifetime duration `yaml:"approval_lifetime"`
	} `yaml:"unblock"`
	SelfService *struct {
		Holders identity.Known `yaml:"holders"`
	} `yaml:"self_service"`
	Limits struct {
		PerSecond   whole `yaml:"requests_per_second"`
		Burst       whole `yaml:"burst"`
		InProgress  whole `yaml:"in_progress"`
		PerOperator rate  `yaml:"per_operator"`
		PerHolder   rate  `yaml:"per_holder"`
		PerCard     rate  `yaml:"per_card"`
		PerBackend  rate  `yaml:"per_backend"`
	} `yaml:"limits"`
	Observe struct {
		Listen  string `yaml:"listen"`
		Tracing struct {
			Endpoint string `yaml:"endpoint"`
			CA       string `yaml:"ca"`
			Sample   part   `yaml:"sample"`
		} `yaml:"tracing"`
	} `yaml:"observe"`
	Custody struct {
		Approvals whole    `yaml:"approvals"`
		Lifetime  duration `yaml:"lifetime"`
		Strict    bool     `yaml:"strict"`
	} `yaml:"custody"`
	Audit struct {
		Key             string      `yaml:"key"`
		CheckpointEvery duration    `yaml:"checkpoint_every"`
		CheckpointAfter whole       `yaml:"checkpoint_after"`
		CheckpointFile  string      `yaml:"checkpoint_file"`
		Keep            duration    `yaml:"keep"`
		Sinks           []auditSink `yaml:"sinks"`
	} `yaml:"audit"`
	Notify *notifications `yaml:"notify"`
	Log    struct {
		Level string `yaml:"level"`
	} `yaml:"log"`
	OIDC      openID     `yaml:"oidc"`
	Clients   []client   `yaml:"clients"`
	Operators []operator `yaml:"operators"`
	Profiles  []profile  `yaml:"profiles"`
}

// cardSource is where cards are looked up.
type cardSource struct {
	Name        string   `yaml:"name"`
	URL         string   `yaml:"url"`
	CA          string   `yaml:"ca"`
	Certificate string   `yaml:"certificate"`
	Key         string   `yaml:"key"`
	TokenFile   string   `yaml:"token_file"`
	Timeout     duration `yaml:"timeout"`
	Fresh       duration `yaml:"fresh"`
}

// token is where a token is and how its user logs in.
type token struct {
	Module string `yaml:"module"`
	Token  struct {
		Label  string `yaml:"label"`
		Serial string `yaml:"serial"`
	} `yaml:"token"`
	PIN struct {
		File string `yaml:"file"`
		Env  string `yaml:"env"`
		FD   whole  `yaml:"fd"`
	} `yaml:"pin"`
}

// auditSink is a place that the audit log's entries are sent to.
type auditSink struct {
	Name        string `yaml:"name"`
	Kind        string `yaml:"kind"`
	Format      string `yaml:"format"`
	Path        string `yaml:"path"`
	Address     string `yaml:"address"`
	URL         string `yaml:"url"`
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	TokenFile   string `yaml:"token_file"`
}

// notifications say who is told that cards were unblocked.
type notifications struct {
	Language  string         `yaml:"language"`
	Templates string         `yaml:"templates"`
	Contact   string         `yaml:"contact"`
	Events    []notify.Event `yaml:"events"`
	GiveUp    duration       `yaml:"give_up"`
	Email     *struct {
		Server       string         `yaml:"server"`
		Security     string         `yaml:"security"`
		CA           string         `yaml:"ca"`
		Username     string         `yaml:"username"`
		PasswordFile string         `yaml:"password_file"`
		From         string         `yaml:"from"`
		Holder       *bool          `yaml:"holder"`
		Desk         []string       `yaml:"desk"`
		Events       []notify.Event `yaml:"events"`
		Timeout      duration       `yaml:"timeout"`
	} `yaml:"email"`
	Webhooks []struct {
		Name        string         `yaml:"name"`
		URL         string         `yaml:"url"`
		CA          string         `yaml:"ca"`
		Certificate string         `yaml:"certificate"`
		Key         string         `yaml:"key"`
		SecretFile  string         `yaml:"secret_file"`
		Events      []notify.Event `yaml:"events"`
		Timeout     duration       `yaml:"timeout"`
	} `yaml:"webhooks"`
}

// openID is the provider whose tokens are taken, and how they are read.
type openID struct {
	Issuer     string   `yaml:"issuer"`
	CA         string   `yaml:"ca"`
	Audience   string   `yaml:"audience"`
	ClockSkew  duration `yaml:"clock_skew"`
	Algorithms []string `yaml:"algorithms"`
	Claims     struct {
		Operator       string `yaml:"operator"`
		Name           string `yaml:"name"`
		Roles          string `yaml:"roles"`
		Groups         string `yaml:"groups"`
		Unit           string `yaml:"unit"`
		Email          string `yaml:"email"`
		EmployeeNumber string `yaml:"employee_number"`
	} `yaml:"claims"`
	Roles map[string]identity.Role `yaml:"roles"`
	MFA   struct {
		AMR []string `yaml:"amr"`
		ACR []string `yaml:"acr"`
	} `yaml:"mfa"`
	Console consoleSignIn `yaml:"console"`
}

// consoleSignIn is how people sign in to the console.
type consoleSignIn struct {
	ClientID     string   `yaml:"client_id"`
	ClientSecret string   `yaml:"client_secret_file"`
	RedirectURL  string   `yaml:"redirect_url"`
	Scopes       []string `yaml:"scopes"`
	Idle         duration `yaml:"idle"`
	Lifetime     duration `yaml:"lifetime"`
}

type client struct {
	Name           string          `yaml:"name"`
	Subject        string          `yaml:"subject"`
	SAN            string          `yaml:"san"`
	TokenSubject   string          `yaml:"token_subject"`
	Roles          []identity.Role `yaml:"roles"`
	Operator       string          `yaml:"operator"`
	NamesOperators bool            `yaml:"names_operators"`
}

type operator struct {
	ID     string   `yaml:"id"`
	Name   string   `yaml:"name"`
	Roles  []string `yaml:"roles"`
	Groups []string `yaml:"groups"`
	Unit   string   `yaml:"unit"`
}

type profile struct {
	ID                string         `yaml:"id"`
	Name              string         `yaml:"name"`
	Family            string         `yaml:"family"`
	ResponseAlgorithm card.Algorithm `yaml:"response_algorithm"`
	ChallengeLength   whole          `yaml:"challenge_length"`
	CardKeyType       card.KeyType   `yaml:"card_key_type"`
	Scheme            card.Scheme    `yaml:"scheme"`
	MasterKey         string         `yaml:"master_key"`
	MasterKeyVersion  whole          `yaml:"master_key_version"`
	Input             string         `yaml:"input"`
	KeyNumber         whole          `yaml:"key_number"`
	CounterBits       whole          `yaml:"counter_bits"`
	CounterAfter      bool           `yaml:"counter_after"`
	Wrapping          card.Wrapping  `yaml:"wrapping"`
	WrongResponses    survived       `yaml:"wrong_responses_survived"`
}

// whole is a whole number, where one is given.
type whole = strictyaml.Whole

// part is a part of a whole, from 0 to 1, where one is given.
type part struct {
	given bool
	p     float64
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *part) UnmarshalYAML(node *yaml.Node) error {
	v, err := strconv.ParseFloat(node.Value, 64)
	if err != nil || v < 0 || v > 1 || v != v {
		return strictyaml.Misread(node, "a number from 0 to 1, such as 0.01")
	}
	*p = part{true, v}
	return nil
}

// duration is a duration with its unit, where one is given.
type duration struct {
	given bool
	none  bool // "none", for a limit that is not to be
	d     time.Duration
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *duration) UnmarshalYAML(node *yaml.Node) error {
	if node.Value == "none" {
		*d = duration{given: true, none: true}
		return nil
	}
	v, err := time.ParseDuration(node.Value)
	if err != nil {
		return strictyaml.Misread(node, "a duration such as 15m")
	}
	*d = duration{given: true, d: v}
	return nil
}

func (d duration) or(otherwise time.Duration) time.Duration {
	if d.given {
		return d.d
	}
	return otherwise
}

// rate is a number in each period, as in "60 per 10m", or "none", where one is given.
type rate struct {
	given bool
	rate  Rate
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *rate) UnmarshalYAML(node *yaml.Node) error {
	if node.Value == "none" {
		*r = rate{given: true}
		return nil
	}
	number, period, ok := strings.Cut(node.Value, " per ")
	n, err := strconv.Atoi(number)
	d, errPeriod := time.ParseDuration(period)
	// An interval below a microsecond is nothing that could be counted.
	if !ok || err != nil || errPeriod != nil || n < 1 || d < time.Second || d > 24*time.Hour || d/time.Duration(n) < time.Microsecond {
		return strictyaml.Misread(node, "a rate such as 60 per 10m, of a period from 1s to 24h, or none")
	}
	*r = rate{given: true, rate: Rate{n, d}}
	return nil
}

func (r rate) or(otherwise Rate) Rate {
	if r.given {
		return r.rate
	}
	return otherwise
}

// survived is a number of wrong responses, "unlimited" or "unknown", where one is
// given.
type survived struct {
	given bool
	limit card.RetryLimit
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *survived) UnmarshalYAML(node *yaml.Node) error {
	switch node.Value {
	case card.RetryUnlimited.String():
		*s = survived{true, card.RetryUnlimited}
		return nil
	case card.RetryUnknown.String():
		*s = survived{true, card.RetryUnknown}
		return nil
	}
	var w whole
	if err := w.UnmarshalYAML(node); err != nil {
		return strictyaml.Misread(node, `a whole number, "unlimited" or "unknown"`)
	}
	// The numbers that stand for the two words are not theirs to be written;
	// the profile's own check refuses 1 in words.
	*s = survived{true, card.RetryLimit(max(w.Or(1), 1))}
	return nil
}

package config

import (
	"time"

	"go.yaml.in/yaml/v3"

	"latchkey/card"
)

// file is the YAML file as it stands.
type file struct {
	Listen string `yaml:"listen"`
	TLS    struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
		ClientCA    string `yaml:"client_ca"`
	} `yaml:"tls"`
	HSM struct {
		Module string `yaml:"module"`
		Token  struct {
			Label  string `yaml:"label"`
			Serial string `yaml:"serial"`
		} `yaml:"token"`
		PIN struct {
			File string `yaml:"file"`
			Env  string `yaml:"env"`
			FD   int    `yaml:"fd"`
		} `yaml:"pin"`
		Sessions         *int     `yaml:"sessions"`
		AllowExtractable []string `yaml:"allow_extractable"`
	} `yaml:"hsm"`
	Store struct {
		Path string `yaml:"path"`
	} `yaml:"store"`
	Policy struct {
		Directory string `yaml:"directory"`
	} `yaml:"policy"`
	Cards struct {
		MaxAge       *limit          `yaml:"max_age"`
		States       map[string]bool `yaml:"states"`
		HolderStates map[string]bool `yaml:"holder_states"`
	} `yaml:"cards"`
	Unblock struct {
		Lifetime *time.Duration `yaml:"lifetime"`
	} `yaml:"unblock"`
	Log struct {
		Level string `yaml:"level"`
	} `yaml:"log"`
	Clients   []client   `yaml:"clients"`
	Operators []operator `yaml:"operators"`
	Profiles  []profile  `yaml:"profiles"`
}

type client struct {
	Name           string `yaml:"name"`
	Subject        string `yaml:"subject"`
	SAN            string `yaml:"san"`
	Roles          []Role `yaml:"roles"`
	Operator       string `yaml:"operator"`
	NamesOperators bool   `yaml:"names_operators"`
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
	ResponseAlgorithm card.Algorithm `yaml:"response_algorithm"`
	ChallengeLength   int            `yaml:"challenge_length"`
	CardKeyType       card.KeyType   `yaml:"card_key_type"`
	Scheme            card.Scheme    `yaml:"scheme"`
	MasterKey         string         `yaml:"master_key"`
	MasterKeyVersion  *int           `yaml:"master_key_version"`
	Input             string         `yaml:"input"`
	KeyNumber         *int           `yaml:"key_number"`
	WrongResponses    survived       `yaml:"wrong_responses_survived"`
}

// limit is a duration, or "none".
type limit time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (l *limit) UnmarshalYAML(n *yaml.Node) error {
	if n.Value == "none" {
		*l = 0
		return nil
	}
	var d time.Duration
	if err := n.Decode(&d); err != nil {
		return err
	}
	*l = limit(d)
	if d <= 0 {
		*l = -1 // told apart from "none" by check
	}
	return nil
}

// survived is a number of wrong responses, "unlimited" or "unknown".
type survived card.RetryLimit

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *survived) UnmarshalYAML(n *yaml.Node) error {
	switch n.Value {
	case "unlimited":
		*s = survived(card.RetryUnlimited)
		return nil
	case "unknown":
		*s = survived(card.RetryUnknown)
		return nil
	}
	var i int
	if err := n.Decode(&i); err != nil {
		return err
	}
	if i < 1 {
		i = 1 // which the profile's own check refuses in words
	}
	*s = survived(i)
	return nil
}

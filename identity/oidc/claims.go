package oidc

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"latchkey/card"
	"latchkey/identity"
)

// Claims says in which claims of a token a person's data is. A claim's name may
// be a path into objects, as in realm_access.roles; a claim that has dots in its
// own name comes first.
type Claims struct {
	// Operator is the claim that holds the operator's ID. It is required; all
	// others may be empty, for what tokens do not say.
	Operator                  string
	Name, Groups, Unit, Roles string
	Email, EmployeeNumber     string
	// RoleOf maps values of the claim Roles to roles. A value that is not in it
	// gives none.
	RoleOf map[string]identity.Role
	// AMR and ACR are the values of the claims amr and acr that tell of more than
	// one factor.
	AMR, ACR []string
}

// emailClaim is OpenID's own claim of an address, which says nothing unless
// email_verified is true.
const emailClaim = "email"

// rawClaims reads JSON strictly: a name that is there twice is an error,
// and not the second's word against the first's.
type rawClaims map[string]any

// UnmarshalJSON implements json.Unmarshaler.
func (r *rawClaims) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, (*map[string]any)(r))
}

// checkTimes refuses a token outside of its time.
func checkTimes(claims map[string]any, now time.Time, skew time.Duration) error {
	moments := map[string]time.Time{}
	for _, name := range []string{"exp", "nbf", "iat", "auth_time"} {
		value, given := claims[name]
		seconds, ok := value.(float64)
		switch {
		case !given:
			continue
		// Beyond the year 9999 there are numbers that wrap around.
		case !ok || math.IsNaN(seconds) || seconds < 0 || seconds > 253402300799:
			return refuse("has a claim "+name+" that is no time", nil)
		}
		moments[name] = time.Unix(int64(seconds), 0)
	}
	expires, ok := moments["exp"]
	if !ok {
		return refuse("does not say when it expires", nil)
	}
	if !now.Before(expires.Add(skew)) {
		return refuse("has expired", nil)
	}
	for name, why := range map[string]string{
		"nbf": "is not valid yet", "iat": "was issued at a time that is yet to come",
		"auth_time": "tells of a login at a time that is yet to come",
	} {
		if moments[name].After(now.Add(skew)) {
			return refuse(why, nil)
		}
	}
	return nil
}

// read makes a person of the claims.
func (c Claims) read(claims map[string]any, issuer, subject string) (identity.Token, error) {
	if _, logout := claims["events"]; logout {
		return identity.Token{}, refuse("tells of an event, and is not a person's or a program's", nil)
	}
	if wrong := card.TextFault(subject, card.MaxText, true); wrong != "" {
		return identity.Token{}, refuse("has a subject that "+wrong, nil)
	}
	t := identity.Token{Issuer: issuer, Subject: subject}
	texts := []struct {
		claim string
		into  *string
	}{
		{c.Operator, &t.Person.ID}, {c.Name, &t.Person.Name}, {c.Unit, &t.Person.Unit},
		{c.Email, &t.Person.Email}, {c.EmployeeNumber, &t.Person.EmployeeNumber},
	}
	verified, _ := claims["email_verified"].(bool)
	for _, text := range texts {
		if text.claim == "" || text.claim == emailClaim && !verified {
			continue
		}
		value, _ := find(claims, text.claim).(string)
		if wrong := card.TextFault(value, card.MaxText, false); wrong != "" {
			return identity.Token{}, refuse(fmt.Sprintf("has a claim %s that %s", text.claim, wrong), nil)
		}
		*text.into = value
	}
	// A program's token has a subject and no operator; whether it is one's is for
	// others to say, who find nobody by an empty ID.
	if t.Person.Name == "" {
		t.Person.Name = t.Person.ID
	}
	t.Person.Groups = list(find(claims, c.Groups))
	for _, value := range list(find(claims, c.Roles)) {
		if role, ok := c.RoleOf[value]; ok && !slices.Contains(t.Person.Roles, role) {
			t.Person.Roles = append(t.Person.Roles, role)
		}
	}
	factors := slices.ContainsFunc(list(claims["amr"]), func(v string) bool { return slices.Contains(c.AMR, v) })
	class, _ := claims["acr"].(string)
	t.Person.MFA = factors || class != "" && slices.Contains(c.ACR, class)
	if at, ok := claims["auth_time"].(float64); ok && at > 0 {
		t.Person.AuthenticatedAt = time.Unix(int64(at), 0).UTC()
	}
	return t, nil
}

// find is a claim by its name, or by the path that its name is.
func find(claims map[string]any, name string) any {
	if value, ok := claims[name]; ok || name == "" {
		return value
	}
	first, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil
	}
	inner, _ := claims[first].(map[string]any)
	return find(inner, rest)
}

// list is a claim that is a text or a list of texts; of others, nothing.
func list(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var texts []string
		for _, each := range v {
			if text, ok := each.(string); ok && card.TextFault(text, card.MaxText, true) == "" {
				texts = append(texts, text)
			}
		}
		return texts
	}
	return nil
}

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"latchkey/audit"
	"latchkey/identity"
)

// ErrTokenTaken says that another operator's record is tied to the same token.
var ErrTokenTaken = errors.New("another operator is tied to this token")

// MaxOperators is the most operators that a page has.
const MaxOperators = 200

// PutOperator registers a person or changes the record, and writes the audit
// entry in the same transaction. Where nothing but UpdatedBy and UpdatedAt differs
// it is Unchanged and nothing is written. The error is ErrTokenTaken where the
// token is another's.
func (s *Store) PutOperator(ctx context.Context, r identity.Record, e audit.Entry) (Result, error) {
	roles, err := json.Marshal(append([]identity.Role{}, r.Roles...))
	if err != nil {
		return "", fmt.Errorf("put operator %s: %w", r.ID, err)
	}
	groups, err := json.Marshal(append([]string{}, r.Groups...))
	if err != nil {
		return "", fmt.Errorf("put operator %s: %w", r.ID, err)
	}
	var result Result
	err = s.writer.write(ctx, func(tx *tx) error {
		result = Updated
		stored, err := scanOperator(tx.QueryRow(`SELECT `+operatorColumns+` FROM operators WHERE id = ?1`, r.ID))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			result = Created
		case err != nil:
			return err
		case sameRecord(stored, r):
			result = Unchanged
			return nil
		}
		if r.Subject != "" {
			var other string
			err := tx.QueryRow(`SELECT id FROM operators WHERE issuer = ?1 AND subject = ?2 AND subject <> '' AND id <> ?3`, r.Issuer, r.Subject, r.ID).Scan(&other)
			switch {
			case err == nil:
				return ErrTokenTaken
			case !errors.Is(err, sql.ErrNoRows):
				return err
			}
		}
		_, err = tx.exec(`INSERT INTO operators (`+operatorColumns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
			ON CONFLICT (id) DO UPDATE SET (name, roles, groups, unit, email, employee_number, issuer, subject, active, updated_by, updated_at) =
				(?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)`,
			r.ID, r.Name, string(roles), string(groups), r.Unit, r.Email, r.EmployeeNumber, r.Issuer, r.Subject,
			r.Active, r.UpdatedBy, micros(r.UpdatedAt))
		if err == nil {
			err = tx.log(e)
		}
		if err != nil || r.Active {
			return err
		}
		return tx.endSessionsOf(r.ID, e)
	})
	if err != nil {
		return "", failed("put operator "+r.ID, err)
	}
	return result, nil
}

// sameRecord tells whether two records say the same of a person.
func sameRecord(a, b identity.Record) bool {
	return a.Name == b.Name && a.Unit == b.Unit && a.Email == b.Email && a.EmployeeNumber == b.EmployeeNumber &&
		a.Issuer == b.Issuer && a.Subject == b.Subject && a.Active == b.Active &&
		slices.Equal(a.Roles, b.Roles) && slices.Equal(a.Groups, b.Groups)
}

// Operator finds a person's record by ID, or gives card.ErrNotFound.
func (s *Store) Operator(ctx context.Context, id string) (identity.Record, error) {
	r, err := scanOperator(s.readers.QueryRowContext(ctx, `SELECT `+operatorColumns+` FROM operators WHERE id = ?1`, id))
	return r, s.unread("read operator "+id, err)
}

// OperatorOfToken finds the record that a token is tied to, or gives
// card.ErrNotFound.
func (s *Store) OperatorOfToken(ctx context.Context, issuer, subject string) (identity.Record, error) {
	// The condition twice over lets the index be used, which leaves out the others.
	r, err := scanOperator(s.readers.QueryRowContext(ctx,
		`SELECT `+operatorColumns+` FROM operators WHERE issuer = ?1 AND subject = ?2 AND subject <> ''`, issuer, subject))
	return r, s.unread("read operator of a token", err)
}

// Operators gives one page of the registered people, by ID, and the cursor of the
// next page, empty where this is the last. A limit of 0 is MaxOperators.
func (s *Store) Operators(ctx context.Context, after string, limit int) (page []identity.Record, next string, err error) {
	if limit <= 0 || limit > MaxOperators {
		limit = MaxOperators
	}
	defer func() { err = s.unread("list operators", err) }()
	rows, err := s.readers.QueryContext(ctx, `SELECT `+operatorColumns+` FROM operators WHERE id > ?1 ORDER BY id LIMIT ?2`, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanOperator(rows)
		if err != nil {
			return nil, "", err
		}
		page = append(page, r)
	}
	if err := rows.Err(); err != nil {
		return nil, "", err
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, nil
}

// operatorColumns are the columns that a record is read from, in scanOperator's
// order.
const operatorColumns = `id, name, roles, groups, unit, email, employee_number, issuer, subject, active, updated_by, updated_at`

func scanOperator(row scanner) (identity.Record, error) {
	var r identity.Record
	var roles, groups []byte
	var updated sql.NullInt64
	err := row.Scan(&r.ID, &r.Name, &roles, &groups, &r.Unit, &r.Email, &r.EmployeeNumber, &r.Issuer, &r.Subject, &r.Active, &r.UpdatedBy, &updated)
	if err != nil {
		return identity.Record{}, err
	}
	if err := errors.Join(json.Unmarshal(roles, &r.Roles), json.Unmarshal(groups, &r.Groups)); err != nil {
		return identity.Record{}, fmt.Errorf("roles and groups of operator %s: %w", r.ID, err)
	}
	r.UpdatedAt = fromMicros(updated)
	return r, nil
}

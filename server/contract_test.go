package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/content"
	"github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/router"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"latchkey/server/api"
)

// contract is openapi.yaml, as a machine reads it.
type contract struct {
	model     *v3.Document
	router    router.Router
	validator validator.Validator
}

// exchange is one kind of answer: an operation with a status and, where it is a
// problem, its code.
type exchange struct {
	operation string
	status    int
	code      string
}

func loadContract(t testing.TB) *contract {
	t.Helper()
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readContract reads and compiles the description, once for all tests.
var readContract = sync.OnceValues(func() (*contract, error) {
	document, err := libopenapi.NewDocument(openAPI)
	if err != nil {
		return nil, err
	}
	model, err := document.BuildV3Model()
	if err != nil {
		return nil, err
	}
	// NDJSON is text to OpenAPI 3.1; the tests of the import look at its lines.
	asText := content.DecoderFunc(func(in *content.DecodeInput) (any, error) {
		text, err := io.ReadAll(in.Body)
		return string(text), err
	})
	v, errs := validator.NewValidator(document, config.WithFormatAssertions(), config.WithoutSecurityValidation(), config.WithBodyDecoder(api.NDJSON, asText))
	if len(errs) != 0 {
		return nil, fmt.Errorf("openapi.yaml: %v", errs)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		return nil, fmt.Errorf("openapi.yaml is not an OpenAPI document: %s", complaints(errs))
	}
	return &contract{
		model: &model.Model, validator: v,
		router: router.NewRouter(&model.Model, router.WithPathOnlyMatching()),
	}, nil
})

// operations gives every operation with its method and path, as in "GET /healthz".
func (c *contract) operations() iter.Seq2[string, *v3.Operation] {
	return func(yield func(string, *v3.Operation) bool) {
		for path, item := range c.model.Paths.PathItems.FromOldest() {
			for method, op := range item.GetOperations().FromOldest() {
				if !yield(strings.ToUpper(method)+" "+path, op) {
					return
				}
			}
		}
	}
}

// documented lists the problem codes that an operation says it answers with.
func documented(op *v3.Operation) []exchange {
	var list []exchange
	for status, response := range op.Responses.Codes.FromOldest() {
		number, _ := strconv.Atoi(status)
		media, ok := response.Content.Get(api.ProblemJSON)
		if !ok {
			list = append(list, exchange{op.OperationId, number, ""})
			continue
		}
		for code := range media.Examples.FromOldest() {
			list = append(list, exchange{op.OperationId, number, code})
		}
	}
	return list
}

// transport holds every exchange that goes through it against the contract: an
// answer has to be one that the operation documents, and a request that is
// answered well has to be one that it takes.
type transport struct {
	*contract
	t    testing.TB
	next http.RoundTripper
}

func (c *contract) through(t testing.TB, next http.RoundTripper) http.RoundTripper {
	return &transport{c, t, next}
}

// CloseIdleConnections is for http.Client, which looks for it here.
func (tr *transport) CloseIdleConnections() {
	if closer, ok := tr.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

func (tr *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
		r.ContentLength = int64(len(sent))
	}
	response, err := tr.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	received, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	tr.check(r, sent, response, received)
	response.Body = io.NopCloser(bytes.NewReader(received))
	return response, nil
}

func (tr *transport) check(r *http.Request, sent []byte, response *http.Response, received []byte) {
	tr.t.Helper()
	route, err := tr.router.FindRoute(r)
	if err != nil || route.Operation == nil {
		tr.t.Errorf("%s %s is not in openapi.yaml: %v", r.Method, r.URL.EscapedPath(), err)
		return
	}
	again := func() *http.Request {
		request := r.Clone(r.Context())
		request.Body = io.NopCloser(bytes.NewReader(sent))
		return request
	}
	if response.StatusCode < http.StatusBadRequest {
		if ok, errs := tr.validator.ValidateHttpRequestSync(again()); !ok {
			tr.t.Errorf("%s %s was answered with %d, but the request is not as openapi.yaml says:%s\n%s",
				r.Method, r.URL.EscapedPath(), response.StatusCode, complaints(errs), sent)
		}
	}
	answer := *response
	answer.Body = io.NopCloser(bytes.NewReader(received))
	if ok, errs := tr.validator.ValidateHttpResponse(again(), &answer); !ok {
		tr.t.Errorf("%s %s: the answer %d is not as openapi.yaml says:%s\n%s",
			r.Method, r.URL.EscapedPath(), response.StatusCode, complaints(errs), received)
	}
	found := exchange{route.Operation.OperationId, response.StatusCode, ""}
	if response.Header.Get("Content-Type") == api.ProblemJSON {
		var problem api.Problem
		if err := json.Unmarshal(received, &problem); err != nil {
			tr.t.Error(err)
		}
		found.code = problem.Code
	}
	if !slices.Contains(documented(route.Operation), found) {
		tr.t.Errorf("openapi.yaml does not say that %s answers with %d %s", found.operation, found.status, found.code)
	}
}

// valid holds JSON against one of the contract's schemas.
func (c *contract) valid(t testing.TB, schema string, text []byte) {
	t.Helper()
	proxy, ok := c.model.Components.Schemas.Get(schema)
	if !ok {
		t.Fatalf("openapi.yaml has no schema %s", schema)
	}
	if ok, errs := schema_validation.NewSchemaValidator().ValidateSchemaBytesWithVersion(proxy.Schema(), text, 3.1); !ok {
		t.Errorf("not a %s:%s\n%s", schema, complaints(errs), text)
	}
}

func complaints(errs []*errors.ValidationError) string {
	var text string
	for _, err := range errs {
		text += "\n  " + err.Message + ": " + err.Reason
		for _, deeper := range err.SchemaValidationErrors {
			text += "\n    " + deeper.Reason
		}
	}
	return text
}

// Every example in the description is one of what it stands for.
func TestExamples(t *testing.T) {
	c := loadContract(t)
	check := func(place string, schema *base.SchemaProxy, example *base.Example) {
		var value any
		if err := example.Value.Decode(&value); err != nil {
			t.Errorf("%s: %v", place, err)
			return
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Errorf("%s: %v", place, err)
			return
		}
		if ok, errs := schema_validation.NewSchemaValidator(config.WithFormatAssertions()).ValidateSchemaBytesWithVersion(schema.Schema(), text, 3.1); !ok {
			t.Errorf("%s:%s", place, complaints(errs))
		}
	}
	for place, op := range c.operations() {
		if op.RequestBody != nil {
			for media, content := range op.RequestBody.Content.FromOldest() {
				if content.Examples.Len() == 0 {
					t.Errorf("%s: the request has no example of %s", place, media)
				}
				for name, example := range content.Examples.FromOldest() {
					check(place+" request "+name, content.Schema, example)
				}
			}
		}
		for status, response := range op.Responses.Codes.FromOldest() {
			for media, content := range response.Content.FromOldest() {
				if content.Examples.Len() == 0 {
					t.Errorf("%s: the answer %s has no example of %s", place, status, media)
				}
				for name, example := range content.Examples.FromOldest() {
					check(place+" "+status+" "+name, content.Schema, example)
				}
			}
		}
	}
}

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/server/api"
	"latchkey/unblock"
)

// reply answers with a JSON body.
func reply(c echo.Context, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return c.Blob(status, api.JSON, text)
}

// answerProblem answers with a problem document.
func answerProblem(c echo.Context, err error) {
	doc := document(err, traceOf(c.Request().Context()).requestID)
	var desk *unblock.Refusal
	if errors.As(err, &desk) && desk.RetryAfter > 0 {
		c.Response().Header().Set("Retry-After", fmt.Sprintf("%.0f", math.Ceil(desk.RetryAfter.Seconds())))
	}
	text, err := json.Marshal(doc)
	if err == nil {
		err = c.Blob(doc.Status, api.ProblemJSON, text)
	}
	if err != nil { // the client is gone, and nobody is left to be told
		c.Response().Status = http.StatusInternalServerError
	}
}

package server

import (
	"html/template"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/server/api"
)

func (s *Server) getOpenAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", openAPI)
}

// getProblem explains a problem code: to a browser on a page, else in JSON.
func (s *Server) getProblem(c echo.Context) error {
	code, err := parameter(c, "code")
	if err != nil {
		return err
	}
	p, known := problemOf(code)
	if !known {
		return refuse(codeRoute, "There is no such problem code.")
	}
	kind := api.ProblemKind{Type: "/problems/" + p.code, Code: p.code, Title: p.title, Status: p.status, Remedy: p.remedy}
	c.Response().Header().Set(echo.HeaderVary, echo.HeaderAccept)
	if !strings.Contains(c.Request().Header.Get(echo.HeaderAccept), "text/html") {
		return reply(c, http.StatusOK, kind)
	}
	page, err := template.New("problem").Parse(problemPage)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	c.Response().Header().Set(echo.HeaderContentType, "text/html; charset=utf-8")
	c.Response().WriteHeader(http.StatusOK)
	return page.Execute(c.Response(), kind)
}

const problemPage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title></head>
<body>
<h1>{{.Title}}</h1>
<p>{{.Remedy}}</p>
<p>Problem code <code>{{.Code}}</code>, HTTP status {{.Status}}.</p>
</body>
</html>
`

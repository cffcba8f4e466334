package console

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"latchkey/card"
)

// approves tells whether the operator is one who is asked for approvals, and may go
// on beyond a card's attempts.
func (v visit) approves() bool { return v.is(supervisors()) }

// countTime is how long a page is kept waiting for the number in its head.
const countTime = time.Second

// waiting counts what waits for the operator's approval. It is 0 where that cannot
// be found out in time: the page of approvals says why.
func (s *console) waiting(v visit) int {
	ctx, cancel := context.WithTimeout(v.r.Context(), countTime)
	defer cancel()
	list, err := s.Desk.Pending(ctx, v.caller)
	if err != nil {
		return 0
	}
	return len(list)
}

// approvals lists what waits for the operator's approval.
func (s *console) approvals(v visit) {
	page := atApprovals{}
	switch v.r.URL.Query().Get("done") {
	case "approved":
		page.Done = "Approved. The operator can go on."
	case "refused":
		page.Done = "Refused. The operator reads why."
	}
	s.showApprovals(v, http.StatusOK, page, nil)
}

// showApprovals shows the page of approvals; fill, where it is set, adds to one what
// was typed into its form.
func (s *console) showApprovals(v visit, status int, page atApprovals, fill func(*pending)) {
	list, err := s.Desk.Pending(v.r.Context(), v.caller)
	if err != nil {
		s.refuse(v, err)
		return
	}
	for _, p := range list {
		shown := pending{
			Process: p.Process, Subject: s.subject(p.Card), Form: v.token, Path: approvalPath(p.Process.ID), Statement: p.Statement,
		}
		shown.Subject.TypeName = p.Type.Name
		if fill != nil {
			fill(&shown)
		}
		page.List = append(page.List, shown)
	}
	if len(page.List) == 0 { // nobody is typing
		v.w.Header().Set("Refresh", strconv.Itoa(int(lookAgain.Seconds()))+"; url="+approvalsPath)
	}
	s.show(v, status, approvalsPage, "Approvals", page)
}

// judge carries out what the operator decides on a process that waits.
func (s *console) judge(v visit) {
	if !s.form(v) {
		return
	}
	id, reason := v.r.PathValue("id"), strings.TrimSpace(v.r.PostForm.Get("reason"))
	if fault := card.TextFault(reason, card.MaxText, true); fault != "" {
		s.showApprovals(v, http.StatusUnprocessableEntity, atApprovals{}, func(p *pending) {
			if p.ID == id {
				p.Typed, p.Fault = reason, "The reason "+fault+"."
			}
		})
		return
	}
	var err error
	done := "approved"
	switch v.r.PostForm.Get("verdict") {
	case "approve":
		_, err = s.Desk.Approve(v.r.Context(), v.caller, id, v.r.PostForm.Get("statement"), reason)
	case "refuse":
		done = "refused"
		_, err = s.Desk.Refuse(v.r.Context(), v.caller, id, reason)
	default:
		s.tell(v, http.StatusUnprocessableEntity, message{
			Title:  "The decision is missing",
			Detail: "The form does not say whether you approve or refuse. Nothing was done.",
			Remedy: "Go back, and press one of the two buttons.",
			Next:   []link{{approvalsPath, "Back to the approvals"}},
		})
		return
	}
	if err != nil {
		s.refuse(v, err, link{approvalsPath, "Back to the approvals"})
		return
	}
	s.see(v, approvalsPath+"?done="+done)
}

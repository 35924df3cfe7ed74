use super::*;

impl Script {
    /// Ann is live, with a credential that is good for ten seconds.
    fn live_for_ten_seconds(&mut self) -> &mut Self {
        let until = Some(self.now + Duration::from_secs(10));
        self.live(1, "ann", 0x10).feed(Input::CredentialRenewed { session: id(1), until }).quietly()
    }
}

#[test]
fn who_is_awake_when_its_credential_runs_out_is_closed_before_anything_is_sent() {
    let mut s = script();
    s.live_for_ten_seconds();
    s.now = s.now + Duration::from_secs(10);
    s.announced(0x10, &[0x20], 0x21);
    assert!(s.said.contains("close #1 expired") && !s.said.contains("page"), "{}", s.said);
}

#[test]
fn a_hub_wakes_in_time_for_a_credential_that_runs_out_and_sends_nothing_after() {
    let mut s = script_with(Config { hibernate_after: Duration::from_secs(1), ..Config::default() });
    s.live_for_ten_seconds().pass(Duration::from_secs(2));
    s.now = s.now + Duration::from_secs(8);
    s.evicted().announced(0x20, &[0x30], 0x31);
    assert!(s.said.contains("close #1 expired") && !s.said.contains("page"), "{}", s.said);
}

#[test]
fn a_renewed_credential_goes_on_across_the_old_ones_end_and_through_a_hibernation() {
    let mut s = script();
    s.live_for_ten_seconds().pass(Duration::from_secs(5));
    let until = Some(s.now + Duration::from_secs(20));
    s.feed(Input::CredentialRenewed { session: id(1), until }).quietly();
    s.now = s.now + Duration::from_secs(10);
    s.evicted().head_read(0x10, 0x11).announced(0x10, &[0x20], 0x21).quietly();
    s.feed(Input::CredentialRenewed { session: id(1), until: None }).pass(Duration::from_secs(3));
    assert_eq!(s.hub.sessions().live, 1, "it is good for ever now");
    assert!(!s.said.contains("close") && s.said.contains("the credential is good"), "{}", s.said);
}

#[test]
fn a_credential_that_has_run_out_opens_nothing() {
    let mut s = script();
    let credential_until = Some(s.now);
    s.feed(Input::Opened { session: id(1), credential_until });
    assert!(s.said.contains("close #1 expired") && !s.said.contains("page"), "{}", s.said);
}

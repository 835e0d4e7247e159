"""Each key of the configuration file and each flag has a test that shows its effect, named here.

Whoever adds a key or a flag writes that test and names it; a key of which the document says that it has no effect needs
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pytest

from broker.config.reference import Section, grouped, sections
from broker.config.values import Key
from broker.flags import Flag
from broker.overrides import SECTIONS
from tests.source.sources import ROOT

TESTS = ROOT / "tests"

_NONE = re.compile(r"ithout effect|Windows only|Only where servers connect|not available in this version")
"""How the document words that a key has no effect."""

_SAYS = "integration/test_configuration_keys.py::test_what_a_server_says_of_itself"
_MEETS = "integration/test_configuration_keys.py::test_what_clients_meet"
_BLOCK = "integration/test_block_keys.py::"
_FLAG = "integration/test_flag_effects.py::"
_FULL = "integration/test_full_resolver.py::"
_SERVERS = "integration/test_account_servers.py::"
_SHOWN = "unit/monitor/test_tenants.py::test_what_crosses_the_wall_of_an_account"
_LOG = "integration/test_log.py::"
_ACCESS = "integration/test_monitor.py::test_tokens_of_operator_and_tenant"
_GUESTS = "unit/net/test_guests.py::"
_PROXIED = "unit/net/test_proxied.py::"
_UNIX = "integration/test_unix_socket.py::"
_LEDGER = "integration/test_ledger.py::"
_CALLOUT = "integration/test_callout.py::"
_RENEWAL = "integration/test_renewal.py::"
_WEB = "integration/test_websocket_keys.py::"
_PEERS = "unit/tls/test_peers.py::"
_REVOKED = "integration/test_revocation.py::"
_STAPLES = "integration/test_stapling.py::"
_SEALED = "integration/test_jetstream_encryption.py::"
_STREAMS = "integration/test_jetstream_keys.py::"
_CROSSES = "unit/control/test_wiring.py::"

EFFECTS: Mapping[str, Mapping[str, str]] = {
    "Clients": {
        "listen": "integration/test_command.py::test_a_lame_duck_is_not_hurried_by_terminate",
        "host": "transcripts/cases/config/json_document.yaml",
        "port": "transcripts/cases/config/json_document.yaml",
        "server_name": _SAYS,
        "client_advertise": _SAYS,
        "proxy_protocol": "integration/test_proxy_protocol.py::test_in_the_clear_and_with_tls",
        "max_connections": _MEETS,
        "max_control_line": _MEETS,
        "max_payload": _MEETS,
        "max_pending": "integration/test_slow_consumers.py::test_who_never_reads_is_cut_at_the_ceiling",
        "max_subscriptions": _MEETS,
        "max_subscription_tokens": "integration/test_limits.py::test_subscriptions_and_their_tokens",
        "max_closed_clients": _MEETS,
        "no_header_support": _MEETS,
        "no_fast_producer_stall": "unit/net/test_stalls.py::test_nobody_waits_where_stalls_are_off",
        "ping_interval": _MEETS,
        "ping_max": _MEETS,
        "write_deadline": "integration/test_slow_consumers.py::test_who_takes_nothing_is_cut_at_the_write_deadline",
        "write_timeout":
            "integration/test_slow_consumers.py::test_who_trickles_may_go_on_where_writes_are_retried",
        "lame_duck_duration": "integration/test_lame_duck.py::test_clients_are_told_and_closed_in_turn",
        "lame_duck_grace_period": "integration/test_lame_duck.py::test_clients_are_told_and_closed_in_turn",
        "allow_non_tls": "transcripts/cases/tls/allow_non_tls_plain_and_tls.yaml",
        "no_auth_user": _MEETS,
        "system_account": _SAYS,
        "no_system_account": _MEETS,
        "default_sentinel": "vectors/cases/sentinel-userpass.yaml",
        "pid_file": "transcripts/cases/config/pid_file.yaml",
        "ports_file_dir": "integration/test_replacement.py::test_the_ports_file_of_a_killed_server_stays",
        "server_tags": _SAYS,
        "server_metadata": _SAYS,
        "feature_flags": _SAYS,
    },
    "Logging": {
        "debug": _LOG + "test_json_lines",
        "trace": _LOG + "test_json_lines",
        "trace_verbose": "integration/test_trace_keys.py::test_each_of_them_traces",
        "trace_headers": "integration/test_trace_keys.py::test_each_of_them_traces",
        "logtime": "integration/test_trace_keys.py::test_times_of_lines",
        "logtime_utc": "integration/test_trace_keys.py::test_times_of_lines",
        "log_format": _LOG + "test_json_lines",
        "syslog": "integration/test_trace_keys.py::test_the_syslog_of_this_machine",
        "remote_syslog": _LOG + "test_syslog_over_a_stream",
        "log_file": _LOG + "test_old_files_go",
        "log_size_limit": _LOG + "test_old_files_go",
        "log_max_num": _LOG + "test_old_files_go",
        "max_traced_msg_len": "integration/test_trace_keys.py::test_each_of_them_traces",
    },
    "Monitoring": {
        "http": "transcripts/cases/monitoring/varz_counts.yaml",
        "https": "integration/test_block_keys.py::test_monitoring_over_https",
        "http_port": "integration/test_block_keys.py::test_monitoring_port",
        "https_port": "integration/test_block_keys.py::test_monitoring_over_https",
        "http_base_path": "transcripts/cases/monitoring/base_path.yaml",
        "dashboard": "integration/test_dashboard.py::test_the_pages_over_http",
        "monitor_access": _ACCESS,
    },
    "`monitor_access`": {
        "token": _ACCESS,
        "accounts": _ACCESS,
    },
    "`admission`": {
        "max_unauthenticated": _GUESTS + "test_who_stalls_goes_for_who_comes",
        "max_unauthenticated_per_address": _GUESTS + "test_an_address_has_its_own_number",
        "max_unauthenticated_memory": _GUESTS + "test_the_memory_of_all_guests_is_bounded",
        "handshakes_per_address": _GUESTS + "test_handshakes_of_an_address_have_a_rate",
        "failures_per_address": _GUESTS + "test_an_address_that_fails_again_and_again_is_turned_away",
        "max_backoff": _GUESTS + "test_the_longest_time_to_be_turned_away",
        "exempt": _GUESTS + "test_failures_of_exempt_addresses_do_not_count",
    },
    "`proxy_protocol` as a map": {
        "trusted": _PROXIED + "test_nobody_else_may_send_a_header",
        "timeout": _PROXIED + "test_the_header_has_its_time",
    },
    "`audit`": {
        "dir": _LEDGER + "test_who_did_what",
        "key": _LEDGER + "test_keys_and_files_of_the_ledger",
        "previous_key": _LEDGER + "test_keys_and_files_of_the_ledger",
        "seal_interval": _LEDGER + "test_who_did_what",
        "max_file": _LEDGER + "test_keys_and_files_of_the_ledger",
        "keep": _LEDGER + "test_keys_and_files_of_the_ledger",
        "refuse_unrecorded": _LEDGER + "test_a_full_disk_closes_the_door_where_that_is_chosen",
    },
    "`websocket`": {
        "listen": _WEB + "test_where_it_listens",
        "host": _WEB + "test_where_it_listens",
        "port": _WEB + "test_where_it_listens",
        "advertise": "integration/test_websocket.py::test_what_monitoring_and_logs_show",
        "proxy_protocol": "integration/test_proxy_protocol.py::test_over_websocket",
        "no_tls": _WEB + "test_without_tls_only_when_that_is_asked_for",
        "tls": _WEB + "test_tls_of_its_own",
        "same_origin": _WEB + "test_same_origin",
        "allowed_origins": _WEB + "test_allowed_origins",
        "handshake_timeout": _WEB + "test_handshake_timeout",
        "compression": _WEB + "test_compression",
        "authorization": _WEB + "test_a_user_of_its_own",
        "jwt_cookie": _WEB + "test_a_cookie_for_the_jwt",
        "user_cookie": _WEB + "test_cookies_for_user_password_and_token",
        "pass_cookie": _WEB + "test_cookies_for_user_password_and_token",
        "token_cookie": _WEB + "test_cookies_for_user_password_and_token",
        "no_auth_user": _WEB + "test_no_auth_user",
        "headers": _WEB + "test_headers_of_the_answer",
        "ping_interval": _WEB + "test_ping_interval",
    },
    "`unix`": {
        "path": _UNIX + "test_both_ways_lead_to_one_server",
        "mode": "unit/net/test_unix.py::test_it_has_its_mode_whatever_the_mask",
        "group": "unit/net/test_unix.py::test_its_group",
        "verify_and_map": _UNIX + "test_a_process_is_the_user_that_it_belongs_to",
        "tls": _UNIX + "test_tls_only_where_it_is_asked_for",
    },
    "`authorization` of `websocket` and `mqtt`": {
        "user": _WEB + "test_a_user_of_its_own",
        "pass": _WEB + "test_a_user_of_its_own",
        "token": _WEB + "test_a_token_of_its_own_beside_the_servers_user",
        "timeout": _WEB + "test_the_time_to_log_in",
    },
    "Blocks of the top level": {
        "tls": "transcripts/cases/tls/tls12_client.yaml",
        "authorization": _BLOCK + "test_user_and_password",
        "websocket": "integration/test_websocket.py::test_both_ports_are_one_server",
        "unix": "unit/config/test_load.py::test_the_unix_socket",
        "admission": _GUESTS + "test_the_block_of_a_file",
        "jetstream": _STREAMS + "test_where_streams_are_kept",
        "store_dir": _STREAMS + "test_where_streams_are_kept",
        "ocsp": _STAPLES + "test_which_certificates_have_one",
        "ocsp_cache": _REVOKED + "test_the_answers_of_before",
        "audit": _LEDGER + "test_who_did_what",
        "accounts": _BLOCK + "test_accounts_and_their_users",
        "mappings": "transcripts/cases/auth/mapped_publish_checked_on_mapped_subject.yaml",
    },
    "Operator mode": {
        "operator": "vectors/cases/good-operator-signing-key.yaml",
        "trusted": "vectors/cases/good-trusted-keys.yaml",
        "resolver": "vectors/cases/good-operator-signing-key.yaml",
        "resolver_tls": _SERVERS + "test_https_is_verified_by_resolver_tls",
        "resolver_preload": "vectors/cases/good-operator-signing-key.yaml",
        "resolver_pinned_accounts": "vectors/cases/pinned-not-listed.yaml",
    },
    "`resolver` as a map (its keys in lower case; unknown ones do not matter)": {
        "type": _SERVERS + "test_a_cache_keeps_what_is_used",
        "dir": _FULL + "test_pushed_kept_and_asked_for",
        "allow_delete": _FULL + "test_nobody_deletes_where_that_is_not_allowed",
        "hard_delete": _FULL + "test_a_deleted_account_is_gone_with_all_who_were_in_it",
        "limit": _FULL + "test_a_limit",
        "ttl": _SERVERS + "test_a_cache_forgets_what_nobody_asks_for",
        "interval": _FULL + "test_newer_jwts_of_others_are_taken",
        "timeout": _FULL + "test_a_look_up_takes_no_longer_than_it_may",
    },
    "`tls`": {
        "cert_file": "transcripts/cases/tls/tls12_client.yaml",
        "key_file": "transcripts/cases/tls/tls12_client.yaml",
        "ca_file": "transcripts/cases/tls/verify_client_cert.yaml",
        "certs": _BLOCK + "test_several_certificates",
        "verify": "transcripts/cases/tls/verify_client_cert.yaml",
        "verify_and_map": "transcripts/cases/auth/tls_map_email.yaml",
        "allow_insecure_cipher_suites": _BLOCK + "test_cipher_suites",
        "cipher_suites": _BLOCK + "test_cipher_suites",
        "curve_preferences": _BLOCK + "test_curves",
        "timeout": "transcripts/cases/tls/silent_client_times_out.yaml",
        "connection_rate_limit": "unit/net/test_secured.py::test_no_more_handshakes_begin_in_a_second_than_may",
        "pinned_certs": "transcripts/cases/tls/pinned_certs.yaml",
        "ocsp_peer": _REVOKED + "test_who_is_good_and_who_is_revoked",
        "crl_files": _REVOKED + "test_who_is_on_a_list",
        "allow_without_crl": _REVOKED + "test_a_list_that_has_ended",
        "handshake_first": "transcripts/cases/tls/handshake_first.yaml",
        "min_version": _BLOCK + "test_lowest_version",
        "watch": _RENEWAL + "test_files_are_watched_where_that_is_asked_for",
        "expiry_warning": _RENEWAL + "test_an_end_is_told_before_it_comes",
    },
    "`ocsp_peer`": {
        "verify": _REVOKED + "test_who_is_good_and_who_is_revoked",
        "ca_timeout": _PEERS + "test_a_slow_responder_is_given_up",
        "allowed_clockskew": _PEERS + "test_clocks_that_differ",
        "warn_only": _REVOKED + "test_responders_that_are_not_there",
        "unknown_is_good": _PEERS + "test_each_status",
        "allow_when_ca_unreachable": _REVOKED + "test_responders_that_are_not_there",
        "cache_ttl_when_next_update_unset": _PEERS + "test_answers_that_leave_their_end_open",
    },
    "`ocsp` (the case of its keys matters)": {
        "mode": _STAPLES + "test_which_certificates_have_one",
        "url": "unit/tls/test_stapler.py::test_whom_to_ask_can_be_set",
    },
    "`ocsp_cache`": {
        "type": _PEERS + "test_nothing_is_kept_where_that_is_off",
        "local_store": _REVOKED + "test_the_answers_of_before",
        "preserve_revoked": _PEERS + "test_what_was_revoked_and_is_out_of_date",
        "save_interval": _REVOKED + "test_answers_are_saved_while_it_runs",
    },
    "`jetstream`": {
        "enabled": _STREAMS + "test_without_streams_nobody_answers",
        "strict": _STREAMS + "test_ceilings_of_the_server",
        "store_dir": _STREAMS + "test_where_streams_are_kept",
        "max_memory_store": _STREAMS + "test_ceilings_of_the_server",
        "max_file_store": _STREAMS + "test_ceilings_of_the_server",
        "domain": _STREAMS + "test_ceilings_of_the_server",
        "key": _STREAMS + "test_streams_are_encrypted",
        "prev_key": _STREAMS + "test_streams_are_encrypted",
        "key_file": _SEALED + "test_the_key_of_the_server_changes_by_a_reload",
        "prev_key_file": _SEALED + "test_a_key_that_was_in_a_file",
        "key_command": _SEALED + "test_a_command_that_has_the_key",
        "key_timeout": _SEALED + "test_a_command_that_has_the_key",
        "key_dir": _SEALED + "test_the_key_of_the_server_changes_by_a_reload",
        "cipher": _STREAMS + "test_streams_are_encrypted",
        "limits": _STREAMS + "test_ceilings_of_the_server",
    },
    "`limits` of `jetstream`": {
        "max_ack_pending": _STREAMS + "test_ceilings_of_the_server",
        "max_request_batch": _STREAMS + "test_ceilings_of_the_server",
        "duplicate_window": _STREAMS + "test_ceilings_of_the_server",
        "batch": "unit/config/test_load.py::test_a_key_sets",
    },
    "`jetstream` of an account": {
        "max_memory": _STREAMS + "test_ceilings_of_an_account",
        "max_store": _STREAMS + "test_ceilings_of_an_account",
        "max_streams": _STREAMS + "test_ceilings_of_an_account",
        "max_consumers": _STREAMS + "test_ceilings_of_an_account",
        "max_bytes_required": _STREAMS + "test_ceilings_of_an_account",
        "mem_max_stream_bytes": _STREAMS + "test_ceilings_of_an_account",
        "disk_max_stream_bytes": _STREAMS + "test_ceilings_of_an_account",
        "max_ack_pending": _STREAMS + "test_ceilings_of_an_account",
    },
    "`authorization`": {
        "user": _BLOCK + "test_user_and_password",
        "pass": _BLOCK + "test_user_and_password",
        "token": _BLOCK + "test_token",
        "timeout": _MEETS,
        "users": _BLOCK + "test_user_and_password",
        "default_permissions": _BLOCK + "test_publish",
        "proxy_required": _BLOCK + "test_proxy_required",
        "auth_callout": _CALLOUT + "test_a_service_admits_and_places",
    },
    "`auth_callout`": {
        "issuer": _CALLOUT + "test_what_is_wrong_with_an_answer_is_a_refusal",
        "account": _CALLOUT + "test_a_service_admits_and_places",
        "auth_users": _CALLOUT + "test_nobody_else_hears_or_forges_requests",
        "xkey": _CALLOUT + "test_answers_in_the_clear_are_refused_where_requests_are_encrypted",
        "allowed_accounts": _CALLOUT + "test_allowed_accounts_are_the_only_ones",
        "break_glass": _CALLOUT + "test_break_glass_works_without_the_service",
    },
    "`users`": {
        "user": _BLOCK + "test_user_and_password",
        "pass": _BLOCK + "test_user_and_password",
        "nkey": _BLOCK + "test_nkey",
        "permissions": _BLOCK + "test_publish",
        "allowed_connection_types": _BLOCK + "test_connection_types",
        "proxy_required": _BLOCK + "test_proxy_required",
        "message_rate": _CROSSES + "test_who_sends_more_than_its_rate_is_slowed_and_loses_nothing",
        "byte_rate": _CROSSES + "test_all_connections_of_a_user_and_all_users_of_an_account_share_a_rate",
    },
    "`permissions`, `default_permissions`": {
        "publish": _BLOCK + "test_publish",
        "subscribe": _BLOCK + "test_subscribe",
        "allow_responses": _BLOCK + "test_responses",
        "grants": "integration/test_grants.py::test_who_reads_a_stream",
    },
    "`allow_responses`": {"max": _BLOCK + "test_responses", "expires": _BLOCK + "test_responses"},
    "An account": {
        "users": _BLOCK + "test_accounts_and_their_users",
        "default_permissions": _BLOCK + "test_publish",
        "limits": _BLOCK + "test_limits_of_an_account",
        "exports": _CROSSES + "test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way",
        "imports": _CROSSES + "test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way",
        "mappings": _CROSSES + "test_mappings_rewrite_what_is_published_and_once_only",
        "jetstream": _STREAMS + "test_ceilings_of_an_account",
        "msg_trace": "transcripts/cases/monitoring/trace_account_destination.yaml",
        "sender_identity": _CROSSES + "test_a_message_tells_who_sent_it_and_nobody_else_can",
    },
    "`limits` of an account": {
        "max_connections": _BLOCK + "test_limits_of_an_account",
        "max_subscriptions": _BLOCK + "test_limits_of_an_account",
        "max_payload": _BLOCK + "test_limits_of_an_account",
        "message_rate": _CROSSES + "test_a_rate_changes_with_the_configuration",
        "byte_rate": _CROSSES + "test_all_connections_of_a_user_and_all_users_of_an_account_share_a_rate",
    },
    "`exports`": {
        "stream": _CROSSES + "test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way",
        "service": _CROSSES + "test_a_request_is_answered_once_and_tells_who_asks",
        "accounts": "transcripts/cases/accounts/err_private_export.yaml",
        "account_token_position": "transcripts/cases/accounts/service_account_token_position.yaml",
        "response": _CROSSES + "test_many_answers_come_until_an_empty_one",
        "threshold": _CROSSES + "test_answers_that_come_too_late_are_dropped",
        "latency": _SHOWN,
        "allow_trace": "transcripts/cases/monitoring/trace_service_imports.yaml",
    },
    "`latency` (the case of its keys matters)": {"subject": _SHOWN, "sampling": _SHOWN},
    "`imports`": {
        "stream": _CROSSES + "test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way",
        "service": _CROSSES + "test_a_request_is_answered_once_and_tells_who_asks",
        "to": _CROSSES + "test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way",
        "prefix": "transcripts/cases/accounts/stream_prefix.yaml",
        "share": "transcripts/cases/accounts/service_share_info.yaml",
        "allow_trace": "transcripts/cases/monitoring/trace_stream_imports.yaml",
    },
    "`stream` and `service` of an import": {
        "account": _CROSSES + "test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way",
        "subject": _CROSSES + "test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way",
    },
    "`mappings`": {
        "dest": _CROSSES + "test_weights_split_and_the_rest_keeps_its_subject",
        "weight": _CROSSES + "test_weights_split_and_the_rest_keeps_its_subject",
        "cluster": "transcripts/cases/accounts/map_weight_and_cluster.yaml",
    },
    "`msg_trace`": {
        "dest": "transcripts/cases/monitoring/trace_account_destination.yaml",
        "sampling": "unit/control/test_tracing.py",
    },
}
"""By section and first name of the key: a file below tests/, and the function in it where it holds several."""

FLAGS: Mapping[str, str] = {
    "host": "transcripts/cases/config/flag_port_and_addr.yaml",
    "port": "transcripts/cases/config/flag_port_and_addr.yaml",
    "name": _FLAG + "test_name",
    "pid_file": "integration/test_replacement.py::test_the_process_that_was_started_is_the_server",
    "http_port": _FLAG + "test_http_port",
    "https_port": _FLAG + "test_https_port",
    "config": "integration/test_command.py::test_flags_win_over_the_file",
    "check": "integration/test_command.py::test_a_file_that_is_valid",
    "reload_preview": "integration/test_command.py::test_a_reload_is_told_beforehand",
    "signal": "integration/test_replacement.py::test_the_process_that_was_started_is_the_server",
    "client_advertise": _FLAG + "test_client_advertise",
    "ports_file_dir": "integration/test_replacement.py::test_the_process_that_was_started_is_the_server",
    "log_file": _LOG + "test_rotation_under_load_loses_nothing",
    "log_size_limit": _LOG + "test_rotation_under_load_loses_nothing",
    "syslog": _FLAG + "test_syslog",
    "remote_syslog": _LOG + "test_remote_syslog",
    "logtime": _FLAG + "test_times",
    "logtime_utc": _FLAG + "test_times",
    "debug": _FLAG + "test_levels",
    "trace": _FLAG + "test_levels",
    "verbose_trace": _FLAG + "test_levels",
    "debug_trace": _FLAG + "test_levels",
    "debug_verbose_trace": _FLAG + "test_levels",
    "max_traced_msg_len": _FLAG + "test_max_traced_msg_len",
    "user": _FLAG + "test_user_and_pass",
    "password": _FLAG + "test_user_and_pass",
    "token": _FLAG + "test_auth",
    "tls": _FLAG + "test_tls",
    "tls_certificate": _FLAG + "test_tls",
    "tls_key": _FLAG + "test_tls",
    "tls_verify": _FLAG + "test_tlsverify_and_tlscacert",
    "tls_authority": _FLAG + "test_tlsverify_and_tlscacert",
    "jetstream": "unit/test_flags.py::test_streams_are_kept_where_a_flag_says_so",
    "store_dir": "unit/test_flags.py::test_streams_are_kept_where_a_flag_says_so",
    **dict.fromkeys(
        (
            "routes", "cluster", "cluster_name", "no_advertise", "cluster_advertise",
            "connect_retries", "profile",
        ),
        "unit/test_flags.py::test_parts_that_are_absent_are_named",
    ),
    "help": "integration/test_command.py::test_help",
    "version": "integration/test_command.py::test_version",
    "help_tls": "integration/test_replacement.py::test_help_of_tls",
}  # fmt: skip
"""The same for flags, by what the program calls them; those of parts that are absent are refused."""


def _check(test: str, names: Iterable[str]) -> None:
    """The test exists, and it speaks of the key or flag by one of its names."""
    file, _, function = test.partition("::")
    path = TESTS / file
    assert path.is_file(), f"{test} does not exist"
    text = path.read_text()
    assert not function or re.search(rf"^(async )?def {function}\(", text, re.MULTILINE), f"{test} does not exist"
    spoken = any(re.search(rf"(?:\\n|\b){re.escape(name)}\b", text) for name in names)
    assert spoken, f"{test} does not speak of {names}"


def _keys(section: Section) -> list[tuple[list[str], Key]]:
    return [(names, key) for names, key in grouped(section.keys) if not _NONE.search(key.doc)]


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.title)
def test_every_key_has_its_test(section: Section) -> None:
    named = EFFECTS.get(section.title, {})
    keys = [] if _NONE.search(f"{section.title} {section.intro}") and not named else _keys(section)
    assert [names[0] for names, _ in keys if names[0] not in named] == []
    for names, key in keys:
        _check(named[names[0]], [*names, key.field.rpartition(".")[2] or names[0]])


def test_no_test_is_named_for_a_key_that_is_not_there() -> None:
    known = {section.title: {names[0] for names, _ in grouped(section.keys)} for section in sections()}
    for title, named in EFFECTS.items():
        assert set(named) <= known[title]


@pytest.mark.parametrize("flag", [flag for section in SECTIONS for flag in section.flags], ids=lambda flag: flag.key)
def test_every_flag_has_its_test(flag: Flag) -> None:
    assert flag.key in FLAGS
    _check(FLAGS[flag.key], flag.names)


def test_no_test_is_named_for_a_flag_that_is_not_there() -> None:
    assert set(FLAGS) == {flag.key for section in SECTIONS for flag in section.flags}

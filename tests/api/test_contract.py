"""The contract: what users of W&B Artifacts expect, call by call, and the tests that show it here.

A row is an expectation in a few words; behind it stand the names of tests in `tests/`, as `file::test`. What is
different on purpose stands in the README, and its rows here begin with `not as W&B:`.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]

_FILES: Final = {
    "A": "api/test_adding.py",
    "C": "api/test_processes.py",
    "D": "api/test_distributed.py",
    "G": "api/test_guide.py",
    "K": "api/test_links.py",
    "L": "api/test_labels.py",
    "M": "api/test_manifest.py",
    "N": "api/test_names.py",
    "P": "api/test_public.py",
    "R": "api/test_reading.py",
    "S": "api/test_states.py",
    "T": "api/test_table.py",
    "TF": "api/test_table_files.py",
    "U": "api/test_run.py",
    "V": "api/test_logging.py",
    "RC": "contracts/test_references.py",
    "RE": "references/test_expand.py",
    "RH": "references/test_http.py",
    "RL": "references/test_local.py",
}

CONTRACT: Final[dict[str, tuple[str, ...]]] = {
    # Names.
    "a name has certain characters and up to 128 of them, else ValueError": (
        "N::test_a_name_of_the_allowed_characters_is_taken",
        "N::test_any_other_name_is_a_value_error_that_repeats_it",
    ),
    "a type is almost any text; some are reserved": (
        "N::test_a_type_may_be_almost_any_text",
        "N::test_the_types_of_what_is_made_automatically_are_reserved",
    ),
    "a name has one type in a project, whatever is logged": (
        "G::test_two_artifacts_cannot_share_a_name_whatever_their_types",
        "V::test_a_type_clash_names_both_types_and_is_found_at_once",
    ),
    "metadata: None, a dictionary or its JSON text, else TypeError": (
        "N::test_no_metadata_are_an_empty_dictionary",
        "N::test_metadata_that_are_no_dictionary_are_a_type_error",
        "N::test_metadata_may_be_json_text",
    ),
    "metadata are copied as JSON can say them": (
        "N::test_metadata_are_copied_as_json_can_say_them",
        "N::test_what_json_cannot_say_is_an_error",
        "N::test_metadata_are_a_copy",
    ),
    "metadata have up to 100 keys": ("N::test_metadata_have_up_to_a_hundred_keys",),
    "metadata are checked again when they are logged": (
        "N::test_metadata_changed_in_place_are_checked_when_they_are_logged",
    ),
    "not as W&B: storage_region and digest_algorithm are taken, with a warning; what is none is a ValueError": (
        "N::test_a_script_that_wants_other_digests_or_a_region_goes_on_and_is_told_once",
        "N::test_any_other_algorithm_and_what_is_no_region_are_value_errors",
    ),
    "repr": ("N::test_the_repr_names_the_artifact", "S::test_the_name_gets_its_number_when_it_has_one"),
    # States and properties.
    "states, is_draft": ("S::test_the_states_have_names",),
    "what only a version has raises ArtifactNotLoggedError before wait": (
        "S::test_what_only_a_version_has_raises_before",
        "S::test_a_logged_artifact_that_nobody_waited_for_is_none_yet",
        "S::test_what_needs_a_version_says_so_on_a_draft",
    ),
    "what changes a draft raises ArtifactFinalizedError after": (
        "S::test_a_finalized_artifact_cannot_be_added_to",
        "S::test_logging_finalizes_at_once",
        "S::test_a_fetched_artifact_is_final",
    ),
    "the errors are AttributeErrors with name and obj": ("S::test_status_errors_are_attribute_errors_of_one_kind",),
    "properties that are always there": ("S::test_what_it_always_has_is_there_in_both_lives",),
    "properties of a version": ("S::test_the_facts_of_a_version_are_those_of_the_store",),
    "digest and size of a draft": ("S::test_a_draft_knows_its_digest_and_size",),
    "ttl: positive, on drafts too, INHERIT, None": (
        "S::test_ttl_may_be_set_on_a_draft",
        "S::test_a_ttl_that_is_none_is_a_value_error",
        "L::test_a_ttl_is_kept_and_taken_away",
    ),
    # Adding.
    "paths are POSIX, in normal form, and do not lead out": (
        "A::test_a_path_has_one_normal_form",
        "A::test_a_path_that_leads_out_is_a_value_error",
    ),
    "the same path twice: the same bytes are nothing, others an error": (
        "A::test_the_same_bytes_twice_are_once_and_others_are_an_error",
    ),
    "add_file: its last name or another, a file and nothing else, links followed": (
        "A::test_a_file_has_its_last_name_or_the_one_that_is_given",
        "A::test_what_is_no_file_is_a_value_error",
        "A::test_a_link_to_a_file_is_added_as_the_file",
    ),
    "policy": ("A::test_what_is_added_is_stored_then", "A::test_any_other_policy_is_a_value_error"),
    "is_tmp": ("A::test_a_temporary_file_is_named_by_its_digest",),
    "add_dir: hidden, linked and empty files, no empty folders": (
        "A::test_a_folder_gives_its_files_hidden_linked_and_empty_ones_too",
        "A::test_a_folder_goes_below_the_name_that_is_given",
        "A::test_what_is_no_folder_is_a_value_error",
    ),
    "add_dir: a link to nothing is FileNotFoundError, a circle OSError": (
        "A::test_a_link_to_nothing_is_a_missing_file",
        "A::test_a_circle_of_links_is_an_error_of_the_system",
    ),
    "add_dir(merge=True)": ("A::test_merging_replaces_what_changed_and_removes_nothing",),
    "new_file": (
        "A::test_a_new_file_is_added_when_it_is_closed",
        "A::test_a_new_file_that_fails_is_not_added",
        "A::test_a_new_file_needs_a_free_name_or_the_mode_to_write_over",
        "A::test_a_new_file_takes_what_open_takes",
        "A::test_a_new_file_is_written_and_nothing_else",
        "A::test_text_that_the_encoding_lacks_is_an_error_that_says_which",
    ),
    "add(obj, name), artifact[name] = obj": (
        "G::test_a_table_is_read_back",
        "V::test_an_object_is_added_once_and_a_name_keeps_what_it_has",
        "V::test_what_is_no_table_is_a_type_error",
        "V::test_an_object_below_media_tables_is_named_by_its_digest",
    ),
    "an object or an entry of another artifact is a reference to it": (
        "R::test_an_object_of_another_artifact_is_pointed_to_and_read_there",
        "R::test_an_entry_of_another_artifact_is_pointed_to",
        "R::test_a_pointer_to_nothing_is_an_error",
    ),
    "remove": ("A::test_files_and_folders_are_removed",),
    "get_added_local_path_name": ("A::test_a_local_file_knows_its_path_in_the_artifact",),
    # The manifest.
    "the manifest as JSON, read and written": (
        "M::test_a_manifest_is_written_as_wandb_reads_it",
        "M::test_what_is_no_manifest_is_a_value_error",
    ),
    "manifest: entries, len, digest, size, folders": (
        "M::test_a_manifest_is_the_same_before_and_after",
        "M::test_entries_are_found_by_path_and_folder",
    ),
    "manifest: add_entry, remove_entry": (
        "M::test_the_manifest_of_a_draft_can_be_changed_and_that_of_a_version_cannot",
        "M::test_a_digest_without_bytes_is_not_added",
    ),
    "entries: what they know, to_json, repr": (
        "M::test_an_entry_asks_for_the_size_of_its_local_file",
        "M::test_an_entry_says_what_is_known_of_it_and_no_more",
    ),
    "entry.download": ("M::test_an_entry_downloads_itself",),
    "entry.ref_target, ref_url, parent_artifact": (
        "M::test_only_a_reference_has_a_target",
        "M::test_an_entry_of_a_version_has_a_uri_of_its_own",
        "M::test_an_entry_that_was_made_by_hand_has_no_parent",
    ),
    # References.
    "references are URIs": ("R::test_a_reference_is_a_uri", "RE::test_what_has_no_scheme_is_no_reference"),
    "file:// references": (
        "R::test_a_reference_brings_the_bytes_it_recorded_or_an_error",
        "RL::test_the_checksum_is_the_digest_of_the_content",
        "RL::test_linked_files_are_followed_and_linked_folders_are_not",
    ),
    "http(s):// references": (
        "RH::test_the_etag_and_the_length_are_kept",
        "RH::test_without_an_etag_the_digest_is_of_the_uri_and_a_warning_says_so",
        "RH::test_an_answer_that_is_not_the_file_is_an_error_when_it_is_recorded",
        "RH::test_another_file_of_the_same_length_is_noticed",
    ),
    "every scheme: the bytes come back, others never do": (
        "RC::test_the_bytes_come_back",
        "RC::test_other_bytes_are_never_given",
        "RC::test_what_is_gone_is_an_error_that_python_knows",
    ),
    "prefixes and folders, up to max_objects": (
        "RC::test_a_folder_stands_for_the_files_in_it",
        "R::test_a_folder_of_references_and_its_limit",
    ),
    "not as W&B: more than max_objects is an error": ("RC::test_the_bound_is_exact_and_more_is_an_error",),
    "checksum=False": (
        "RC::test_without_checksum_there_is_one_entry_and_no_look",
        "RH::test_without_checksum_nothing_is_asked_and_nothing_compared",
    ),
    "unknown schemes need a name and cannot be fetched": (
        "RE::test_a_scheme_that_nobody_knows_needs_a_name",
        "RE::test_a_scheme_that_nobody_knows_is_recorded_with_a_warning_and_cannot_be_fetched",
        "A::test_a_warning_of_a_reference_points_to_the_line_that_asked_for_it",
    ),
    "a missing library is named with its extra": ("RE::test_a_library_that_is_not_installed_is_named_with_its_extra",),
    "references do not write over": ("R::test_a_path_that_is_taken_stays_what_it_is",),
    "allow_missing_references": ("R::test_a_reference_brings_the_bytes_it_recorded_or_an_error",),
    # Logging.
    "log_artifact is asynchronous, answers the artifact, wait(timeout)": (
        "V::test_log_artifact_returns_the_same_object_at_once",
        "V::test_waiting_may_be_limited",
        "V::test_what_changes_after_the_call_is_not_in_the_version",
        "V::test_what_is_logged_is_logged_whatever_becomes_of_the_object",
    ),
    "errors surface in wait": ("V::test_an_error_in_the_background_reaches_who_waits",),
    "log_artifact of a path: file, folder, URI; default name and type": (
        "V::test_a_path_is_logged_under_the_runs_name",
        "V::test_a_uri_is_logged_as_a_reference",
        "V::test_what_is_no_artifact_and_no_path_is_an_error",
    ),
    "not as W&B: a large path is read in the background, as it stood at the call or not at all": (
        "V::test_a_path_is_logged_as_it_stood_at_the_call_or_not_at_all",
    ),
    "aliases: text or list, no `/` and `:`, latest always; one version each": (
        "V::test_an_alias_that_is_none_is_an_error_at_once",
        "V::test_aliases_stand_on_one_version_each_and_latest_on_the_last",
    ),
    "tags": ("V::test_tags_are_checked_and_each_is_there_once",),
    "the same content as any version is that version": (
        "V::test_the_same_content_is_the_version_that_has_it",
        "V::test_a_version_that_is_logged_again_stays_what_it_is",
    ),
    "not as W&B: numbers come in the order of the calls": (
        "G::test_ten_logs_in_a_loop_are_ten_versions_in_that_order",
        "V::test_versions_come_in_the_order_of_the_calls_whatever_their_size",
    ),
    "save: in a run, without one, and of a version": (
        "V::test_saving_in_a_run_logs_to_it",
        "V::test_saving_without_a_run_is_done_when_it_returns",
        "V::test_saving_without_a_run_that_fails_is_a_crashed_run",
        "G::test_outside_of_a_run_save_makes_one",
    ),
    "new_draft: all of it, in the same project, nothing read again": (
        "V::test_a_new_draft_begins_with_all_of_it_and_reads_nothing",
        "V::test_a_new_draft_stays_in_its_project",
        "G::test_a_version_is_updated_by_a_draft_of_it",
    ),
    "incremental": (
        "V::test_incremental_versions_add_to_the_latest",
        "C::test_processes_that_add_to_the_latest_version_lose_nothing_of_each_other",
    ),
    "upsert_artifact and finish_artifact: by group or distributed_id, else TypeError": (
        "D::test_a_group_or_a_distributed_id_has_to_be_there",
        "D::test_a_path_may_be_a_part",
    ),
    "nothing is visible before finish; then it is the union of all parts": (
        "D::test_nothing_is_seen_before_finish_and_all_of_it_after",
        "D::test_the_order_of_the_parts_does_not_matter",
        "D::test_a_part_is_no_version_and_says_so",
    ),
    "a later part begins the next version": ("D::test_what_comes_after_finish_begins_the_next_version",),
    "two writers with other bytes for one path are an error that names both": (
        "D::test_two_writers_with_other_bytes_for_one_path_are_both_named",
    ),
    "threads, processes and Ray's workers make one version": (
        "D::test_threads_make_one_version",
        "D::test_processes_make_one_version",
        "D::test_the_workers_of_ray_make_one_version",
    ),
    "not as W&B: fewer parts than expected are not finished": ("D::test_fewer_parts_than_expected_are_not_finished",),
    "use_artifact: by name, by type, records the consumer": (
        "U::test_using_records_who_and_checks_the_type",
        "U::test_a_name_that_is_none_is_a_value_error",
    ),
    "use_artifact: missing is CommError": ("U::test_what_is_not_here_is_a_comm_error_that_says_what_is",),
    "use_artifact of a draft logs it first": ("U::test_a_draft_is_logged_before_it_is_used",),
    "not as W&B: all of it works offline": ("U::test_the_modes_mean_the_same_here",),
    "link: number, aliases, source": (
        "K::test_a_link_has_two_names",
        "K::test_the_aliases_of_a_link_are_its_own_and_all_else_is_the_versions",
        "K::test_a_link_is_used_and_downloaded_as_what_it_is",
    ),
    "link twice is one membership": ("K::test_linking_twice_is_one_membership",),
    "link of a draft logs it": ("K::test_a_draft_is_logged_before_it_is_linked",),
    "unlink; delete of a link": ("K::test_unlinking_leaves_the_version",),
    "log_model, use_model, log_code": ("V::test_log_model_use_model_and_log_code",),
    "link_model": ("K::test_a_model_is_linked_by_its_registered_name",),
    "artifacts in the config": ("U::test_an_artifact_in_the_config_is_used",),
    "delete(delete_aliases)": (
        "L::test_deleting_says_which_alias_is_in_the_way",
        "K::test_a_linked_version_is_deleted_only_if_that_is_said",
    ),
    "a deleted number is not used again": ("L::test_the_number_of_a_deleted_version_is_not_used_again",),
    "logged_by, used_by": ("G::test_an_artifact_is_made_filled_and_logged_in_a_run",),
    "json_encode": ("L::test_json_encode_says_which_version",),
    "labels change in place with save": (
        "L::test_the_lists_are_live",
        "L::test_nothing_changes_before_save",
        "L::test_metadata_change_key_by_key",
        "L::test_metadata_may_be_set_as_a_whole",
        "G::test_labels_change_in_place",
    ),
    # Reading.
    "download: where to, what stays, what is replaced": (
        "R::test_a_download_goes_to_a_folder_of_its_own",
        "R::test_the_environment_may_say_where",
        "R::test_a_folder_that_is_given_is_answered_as_it_was",
        "R::test_right_files_stay_wrong_ones_are_replaced_and_others_left_alone",
    ),
    "download(path_prefix)": ("R::test_a_prefix_is_the_beginning_of_a_path",),
    "checkout": ("R::test_a_checkout_leaves_nothing_else",),
    "verify": (
        "R::test_a_folder_that_holds_the_version_is_verified",
        "R::test_each_difference_is_an_error_of_its_own",
        "R::test_verifying_skips_references_and_says_so",
    ),
    "file": ("R::test_the_only_file_is_answered",),
    "files": ("R::test_files_are_a_list_of_things_to_download",),
    "get_entry, get_path": ("M::test_a_path_that_is_not_there_is_a_key_error",),
    "get(name), artifact[name]": ("G::test_a_table_is_read_back",),
    # Runs.
    "init: what it is told, and what the environment says": (
        "U::test_a_run_knows_what_init_was_told",
        "U::test_the_environment_may_say_it_for_a_script",
        "U::test_without_anything_it_is_uncategorized",
        "U::test_what_only_a_server_could_do_is_said_and_a_typing_error_is_one",
    ),
    "init in a run answers that run, unless reinit": (
        "U::test_init_in_a_run_answers_that_run",
        "U::test_each_thread_has_a_run_of_its_own",
    ),
    "resume": ("U::test_a_known_id_goes_on",),
    "modes": ("U::test_the_modes_mean_the_same_here", "U::test_a_disabled_run_works_and_leaves_nothing"),
    "config": ("U::test_the_config_is_kept_as_it_is_set", "U::test_a_config_is_not_read_without_a_run"),
    "the module's own run, config, log_artifact, use_artifact, finish": (
        "U::test_the_active_run_is_the_modules",
        "U::test_without_a_run_the_modules_verbs_say_so",
    ),
    "name, notes and tags of a run": ("U::test_words_about_a_run_may_change",),
    "a run ends well, by an exit code, by an exception or by a kill": (
        "U::test_an_exit_code_says_how_it_ended",
        "U::test_an_exception_ends_a_run_as_crashed_and_what_it_logged_is_there",
        "U::test_an_exception_is_not_hidden_by_what_was_not_logged",
        "C::test_a_killed_process_leaves_a_crashed_run_and_what_it_had_logged",
    ),
    "finish waits, and raises what nobody was told": (
        "V::test_finish_waits_for_what_was_logged",
        "V::test_an_error_that_nobody_waited_for_reaches_finish",
        "V::test_an_error_that_was_caught_is_not_raised_again",
        "V::test_a_finished_run_logs_nothing",
    ),
    "what was logged is there when the interpreter ends": (
        "C::test_what_was_logged_is_there_when_the_interpreter_ends",
        "C::test_an_error_that_nobody_asked_for_is_printed_at_the_end",
    ),
    "a run ends as its script does, also one that nobody finished": (
        "C::test_a_run_ends_as_its_script_does",
        "C::test_a_run_of_a_worker_ends_as_the_worker_does",
    ),
    "threads and processes": (
        "V::test_threads_log_in_some_order_and_lose_nothing",
        "C::test_processes_log_to_one_store_together",
        "C::test_processes_make_the_store_together",
        "C::test_a_child_begins_its_own_run_and_leaves_its_parents_alone",
    ),
    "not as W&B: metrics are an error that says what is kept": (
        "V::test_metrics_are_not_artstores_and_it_says_what_is",
    ),
    # Api.
    "Api.artifact": ("P::test_a_version_is_found_by_its_name",),
    "Api.artifact_exists, artifact_collection_exists": ("P::test_whether_something_is_there",),
    "Api.artifacts, artifact_versions: order, tags": ("P::test_versions_come_in_either_order_and_by_tags",),
    "Api.artifact_type(s), artifact_collection(s)": ("P::test_collections_and_types_are_listed",),
    "collections: order": (
        "P::test_collections_come_in_the_order_that_is_asked_for",
        "P::test_an_order_that_is_none_is_a_value_error_at_once",
    ),
    "collections, runs: filters, order": (
        "P::test_filters_mean_the_collections_that_they_mean_in_wandb",
        "P::test_what_no_filter_can_say_is_an_error_and_not_everything",
        "P::test_runs_are_chosen_and_put_in_order",
    ),
    "ArtifactCollection": (
        "P::test_a_collection_says_what_it_is",
        "P::test_a_collection_changes_with_save_and_its_versions_keep_their_numbers",
    ),
    "Api.run, runs; logged_artifacts, used_artifacts": ("P::test_runs_say_what_they_made_and_used",),
    "use_artifact and log_artifact of a past run": (
        "P::test_a_run_of_the_past_may_be_given_artifacts",
        "P::test_what_is_in_hand_is_logged_under_the_name_that_it_has_by_now",
    ),
    "Api: what is no name is a TypeError": ("P::test_what_is_no_name_is_a_type_error_that_says_what_to_give",),
    "Api and a script stay with the store of the run": (
        "U::test_an_api_object_stays_with_the_store_of_its_run",
        "U::test_a_script_stays_with_its_store_when_its_folder_changes",
    ),
    "paginators": (
        "P::test_a_paginator_asks_when_it_is_looked_at_and_once",
        "P::test_a_page_that_is_none_is_a_value_error",
    ),
    # Tables.
    "Table: columns, data, types": (
        "T::test_columns_are_a_list_of_names",
        "T::test_a_row_has_a_cell_for_each_column",
        "T::test_a_cell_of_another_type_is_refused_and_the_table_stays",
    ),
    "Table: columns are added, computed, read, cast": (
        "T::test_a_column_is_added_at_the_right",
        "T::test_columns_are_computed_from_rows",
        "T::test_a_column_is_read_as_list_or_array",
        "T::test_a_column_is_cast_if_every_cell_fits",
    ),
    "not as W&B: a table beyond the limit is an error": (
        "T::test_more_rows_than_the_limit_are_an_error_that_says_what_to_do",
    ),
    "Table, PartitionedTable and JoinedTable in W&B's files": (
        "TF::test_the_file_is_what_wandb_writes_to_the_byte",
        "TF::test_a_partitioned_table_is_written_as_wandb_does",
        "TF::test_a_joined_table_is_written_as_wandb_does",
        "TF::test_what_wandb_wrote_reads_as_what_was_put_in",
    ),
    "PartitionedTable: parts are found when they are read": ("T::test_parts_are_found_when_they_are_read",),
    "JoinedTable: of what is there": ("T::test_a_join_is_of_tables_that_are_there",),
}


@cache
def functions_of(file: str) -> frozenset[str]:
    """The functions of a file that pytest runs."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_")


def exists(name: str) -> bool:
    letter, _, test = name.partition("::")
    return test in functions_of(_FILES[letter])


@pytest.mark.parametrize("row", CONTRACT)
def test_a_row_has_tests_and_each_of_them_exists(row: str) -> None:
    assert CONTRACT[row]
    assert [] == [name for name in CONTRACT[row] if not exists(name)]


def test_a_test_that_does_not_exist_is_noticed() -> None:
    assert exists("N::test_metadata_are_a_copy")
    assert not exists("N::test_metadata_are_copied_by_nobody")


def test_every_example_of_the_guide_stands_for_a_row() -> None:
    """A test of the guide that no row names would be one that nobody misses."""
    named = {name for names in CONTRACT.values() for name in names}

    assert {"test_an_artifact_holds_what_the_guide_says"} == {
        test for test in functions_of(_FILES["G"]) if f"G::{test}" not in named
    }
